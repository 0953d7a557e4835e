"""A model of lilift as EleutherAI's lm-eval harness asks for one, so that it can be put to the harness's tasks.

A task's context is the question: the model reads it as it reads a benchmark's, in the prompt template that it was trained with.
What a task wants continued or ranked is the answer. The harness's three kinds of request become:

    generate_until           a response, cut at the first of the task's stop texts
    loglikelihood            how likely a given answer is (multiple choice)
    loglikelihood_rolling    refused: a text without a question has no likelihood here

Needs the extra `lilift[lm-eval]`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lm_eval.api.model import LM
from tqdm import tqdm

from lilift.evaluate.choice_likelihood import ranking
from lilift.evaluate.responders import CutsQuestions, Responder, StreamsResponses, TakesSettings
from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import RecipeError

_LONGEST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# Of no effect while the likeliest token is taken. Tasks set them all the same.
_OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")
_CONTEXTS_AT_ONCE = 512
"""Contexts between two steps of the progress shown, where answers are ranked."""


@dataclass(frozen=True)
class _Manner:
    """How a task wants its responses.

    Attributes:
        until: a response ends before the first of these.
        max_new_tokens: longest response; None is the model's own.
        sampling: None takes the likeliest token.
    """

    until: tuple[str, ...]
    max_new_tokens: int | None
    sampling: Sampling | None

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> _Manner:
        """Read a request's generation settings.

        Raises:
            RecipeError: one of them is unknown and would change the responses.
        """
        settings = dict(asked)
        until = settings.pop("until", None) or []
        longest = [int(value) for name in _LONGEST if (value := settings.pop(name, None)) is not None]
        temperature = float(settings.get("temperature") or 0.0)
        draws = temperature > 0 and settings.pop("do_sample", True)
        settings.pop("do_sample", None)
        sampling = None
        if draws:
            sampling = Sampling(temperature, float(settings.pop("top_p", 1.0)), int(settings.pop("seed", 0)))
            settings.pop("temperature")
        else:
            for name in _OF_SAMPLING:
                settings.pop(name, None)
        if settings:
            raise RecipeError(
                f"the task asks for a generation setting that lilift has not: {min(settings)}",
                where="generation_kwargs",
                remedy="choose another task, or change it in the task's file",
            )
        return cls((until,) if isinstance(until, str) else tuple(until), longest[0] if longest else None, sampling)

    def cut(self, text: str) -> str:
        """A response up to where the task wants it ended."""
        return text[: min((place for stop in self.until if stop and (place := text.find(stop)) >= 0), default=len(text))]


class HarnessModel(LM):  # type: ignore[misc]  # lm_eval is not typed
    """A responder behind the harness's interface.

    Args:
        responder: answers.
    """

    def __init__(self, responder: Responder) -> None:
        super().__init__()
        self._responder = responder

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """A response for each request's context, ended as its task wants."""
        asked = [(context, _Manner.of(settings)) for context, settings in (request.args for request in requests)]
        kept_under = {one: request.args for one, request in zip(asked, requests, strict=True)}
        self._warn_of_cuts([context for context, _ in asked])
        # Repeats of a drawn request are several samples of one question; those of a greedy one are answered once.
        times = Counter(asked)
        found: dict[tuple[str, _Manner], list[str]] = {one: [] for one in times}
        groups: dict[tuple[_Manner, int], list[str]] = {}
        for (context, manner), count in times.items():
            groups.setdefault((manner, count if manner.sampling else 1), []).append(context)
        with tqdm(total=len(times), desc="Answering", disable=disable_tqdm) as progress:
            for (manner, samples), contexts in groups.items():
                responder = self._answering(manner)
                for response in responder.stream(contexts, samples=samples):
                    one = (contexts[response.question], manner)
                    found[one].append(manner.cut(response.text))
                    progress.update(len(found[one]) == samples)
                    if manner.sampling is None:
                        self.cache_hook.add_partial("generate_until", kept_under[one], found[one][0])
        return [found[one].pop() if one[1].sampling else found[one][0] for one in asked]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each request's context and answer, the answer's log-probability, and whether the model would write it itself.

        Raises:
            RecipeError: the model can only write.
        """
        ranks = ranking(self._responder, "lm-eval")
        asked = [request.args for request in requests]
        answers: dict[str, list[str]] = {}
        for context, answer in asked:
            answers.setdefault(context, []).append(answer)
        contexts = list(answers)
        self._warn_of_cuts(contexts)
        found: dict[tuple[str, str], tuple[float, bool]] = {}
        with tqdm(total=len(contexts), desc="Ranking", disable=disable_tqdm) as progress:
            for start in range(0, len(contexts), _CONTEXTS_AT_ONCE):
                some = contexts[start : start + _CONTEXTS_AT_ONCE]
                likelihoods = ranks.likelihoods(some, [answers[context] for context in some])
                for context, values in zip(some, likelihoods, strict=True):
                    for answer, value in zip(answers[context], values, strict=True):
                        found[context, answer] = (value.log_probability, value.greedy)
                        self.cache_hook.add_partial("loglikelihood", (context, answer), found[context, answer])
                progress.update(len(some))
        return [found[one] for one in asked]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> NoReturn:  # noqa: ARG002
        """Refused.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            "this task measures the perplexity of texts, and a bridged model answers questions",
            where="lm-eval",
            remedy="choose tasks of the kinds generate_until, loglikelihood or multiple_choice",
        )

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Refused: the words around a question are those of training, always.

        Raises:
            RecipeError: one is asked for.
        """
        if chat_template:
            raise RecipeError(
                "the model reads every question in the prompt template that it was trained with",
                where="lm-eval",
                remedy="leave --apply_chat_template out",
            )
        return ""

    def _answering(self, manner: _Manner) -> StreamsResponses:
        responder = self._responder
        if not isinstance(responder, TakesSettings):
            raise RecipeError("this model answers in its own manner only", where="lm-eval", remedy="give a run or an export")
        return responder.with_settings(max_new_tokens=manner.max_new_tokens, sampling=manner.sampling)

    def _warn_of_cuts(self, contexts: Sequence[str]) -> None:
        """Few-shot contexts are long, and an encoder that reads half of one is easily overlooked."""
        distinct = list(dict.fromkeys(contexts))
        cut = sum(self._responder.cuts(distinct)) if isinstance(self._responder, CutsQuestions) else 0
        if cut:
            logging.getLogger(__name__).warning(
                "%d of %d contexts are longer than the encoder reads, and their ends are cut off: ask with fewer examples "
                "(--num_fewshot), or train with a larger encoder.max_tokens",
                cut,
                len(distinct),
            )
