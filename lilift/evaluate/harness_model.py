"""A lilift model behind the model interface of EleutherAI's lm-eval harness, so that it can run the tasks of the harness.

The context of a task is the question. The model reads it like a question of a benchmark, in the prompt template of its
training. The text that a task wants generated or ranked is the answer. lilift handles the three kinds of request like this:

    generate_until           a response, cut before the first stop text of the task
    loglikelihood            the likelihood of a given answer (multiple choice)
    loglikelihood_rolling    refused: lilift computes the likelihood of answers to questions only

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
# These have no effect on greedy decoding, but tasks set them all the same.
_OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")
_CONTEXTS_AT_ONCE = 512
"""Contexts between two updates of the progress bar while answers are ranked."""


@dataclass(frozen=True)
class _ResponseSettings:
    """How a task wants its responses.

    Attributes:
        until: a response ends before the first of these texts.
        max_new_tokens: longest response; None keeps the limit of the model.
        sampling: None always takes the most likely token.
    """

    until: tuple[str, ...]
    max_new_tokens: int | None
    sampling: Sampling | None

    @classmethod
    def of(cls, generation_kwargs: Mapping[str, Any]) -> _ResponseSettings:
        """Read the generation settings of a request.

        Raises:
            RecipeError: lilift does not know one of them, and it would change the responses.
        """
        settings = dict(generation_kwargs)
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
                f"the task uses a generation setting that lilift does not support: {min(settings)}",
                where="generation_kwargs",
                remedy="choose another task, or remove the setting from the task's file",
            )
        return cls((until,) if isinstance(until, str) else tuple(until), longest[0] if longest else None, sampling)

    def cut(self, text: str) -> str:
        """The part of a response before the first stop text."""
        return text[: min((place for stop in self.until if stop and (place := text.find(stop)) >= 0), default=len(text))]


class HarnessModel(LM):  # type: ignore[misc]  # lm_eval is not typed
    """A responder behind the interface of the harness.

    Args:
        responder: answers the questions.
    """

    def __init__(self, responder: Responder) -> None:
        super().__init__()
        self._responder = responder

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """A response to the context of each request, cut as its task wants."""
        asked = [(context, _ResponseSettings.of(settings)) for context, settings in (request.args for request in requests)]
        kept_under = {one: request.args for one, request in zip(asked, requests, strict=True)}
        self._warn_of_cuts([context for context, _ in asked])
        # A repeated request with sampling is several samples of one question; a repeated greedy request is answered once.
        times = Counter(asked)
        found: dict[tuple[str, _ResponseSettings], list[str]] = {one: [] for one in times}
        groups: dict[tuple[_ResponseSettings, int], list[str]] = {}
        for (context, settings), count in times.items():
            groups.setdefault((settings, count if settings.sampling else 1), []).append(context)
        with tqdm(total=len(times), desc="Answering", disable=disable_tqdm) as progress:
            for (settings, samples), contexts in groups.items():
                responder = self._responder_with(settings)
                for response in responder.stream(contexts, samples=samples):
                    one = (contexts[response.question], settings)
                    found[one].append(settings.cut(response.text))
                    progress.update(len(found[one]) == samples)
                    if settings.sampling is None:
                        self.cache_hook.add_partial("generate_until", kept_under[one], found[one][0])
        return [found[one].pop() if one[1].sampling else found[one][0] for one in asked]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """The log-probability of each request's answer after its context, and whether the model would write that answer.

        Raises:
            RecipeError: the model can only write answers.
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
            "this task measures the perplexity of texts, but a bridged model only answers questions",
            where="lm-eval",
            remedy="choose tasks whose output_type is generate_until, loglikelihood or multiple_choice",
        )

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Empty: the model reads every question in the prompt template of its training.

        Raises:
            RecipeError: the user asks for a chat template.
        """
        if chat_template:
            raise RecipeError(
                "lilift cannot apply a chat template: the model reads every question in the prompt template of its training",
                where="lm-eval",
                remedy="leave --apply_chat_template out",
            )
        return ""

    def _responder_with(self, settings: _ResponseSettings) -> StreamsResponses:
        responder = self._responder
        if not isinstance(responder, TakesSettings):
            raise RecipeError(
                "this model cannot change how it generates its answers", where="lm-eval", remedy="give a run or an export"
            )
        return responder.with_settings(max_new_tokens=settings.max_new_tokens, sampling=settings.sampling)

    def _warn_of_cuts(self, contexts: Sequence[str]) -> None:
        """Warn about long contexts: with few-shot examples, an encoder often reads only half of one, and nobody notices."""
        distinct = list(dict.fromkeys(contexts))
        cut = sum(self._responder.cuts(distinct)) if isinstance(self._responder, CutsQuestions) else 0
        if cut:
            logging.getLogger(__name__).warning(
                "%d of %d contexts are longer than the encoder can read, so their ends are cut off; use fewer examples "
                "(--num_fewshot), or train with a larger encoder.max_tokens",
                cut,
                len(distinct),
            )
