"""Lets a model answer the watched foreign questions while a stage trains, in small batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from lilift.data.batches.tokenization import Tokenisation
from lilift.evaluate.answers.answer_lines import line_of
from lilift.evaluate.benchmarks.benchmark import Benchmark
from lilift.evaluate.choice_likelihood import LikelihoodResponder
from lilift.evaluate.responders import LEAST_BATCH_TOKENS, BridgeResponder
from lilift.evaluate.response_stream import Response
from lilift.evaluate.scores.scores import wilson_interval
from lilift.memory.guard import free_memory, is_out_of_memory
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder_states import EncoderStates, StatesInMemory
from lilift.recipe.schema import DuringSettings, Recipe, StageName
from lilift.train.accuracy_watch import Answered, WatchPlan

_SAMPLES = 6
"""Answers that a watch keeps, spread over the first languages."""
_LONGEST_SAMPLE = 600
"""Characters that it keeps of a question or a response."""


class Generates(Protocol):
    """A responder, or what chooses among labels."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        """One response for each question, in the same order."""


def watch_plan(
    bridge: BridgedModel, recipe: Recipe, stage: StageName, benchmarks: Sequence[Benchmark], tokenisation: Tokenisation
) -> WatchPlan | None:
    """What lilift watches while a stage trains; None if the recipe watches nothing there.

    Args:
        bridge: the model that trains.
        recipe: the recipe of the run.
        stage: the section of the recipe that holds the stage's settings.
        benchmarks: the watched questions by language.
        tokenisation: turns questions into rows, as in the evaluation after training. The watch needs one of its own, because
            it counts the lengths of texts.
    """
    during: DuringSettings | None = recipe.watched_in(stage)
    if during is None:
        return None
    answers = WatchedAnswers(bridge, benchmarks, tokenisation, recipe, batch_tokens=watch_tokens(recipe, stage))
    return WatchPlan(answers.answer, during.every, during.keep == "best")


def watch_tokens(recipe: Recipe, stage: StageName) -> int:
    """Tokens of prompts and answers side by side in a watch: no more than a micro-batch of the stage."""
    return int(min(getattr(recipe, stage).tokens_per_micro_batch, recipe.evaluate.tokens_per_batch))


@dataclass
class WatchedAnswers:
    """The watched questions, and the model that answers them.

    Questions with labels get the most likely label. The model writes its answer to the others.

    Attributes:
        bridge: the model that trains.
        benchmarks: the questions by language.
        tokenisation: turns questions into rows.
        recipe: its `evaluate.max_new_tokens` is the longest answer.
        batch_tokens: tokens side by side; halved if memory runs out.
    """

    bridge: BridgedModel
    benchmarks: Sequence[Benchmark]
    tokenisation: Tokenisation
    recipe: Recipe
    batch_tokens: int

    def __post_init__(self) -> None:
        states = self.bridge.states
        # A store in host memory holds the texts of the next steps. The watch must not push them out.
        apart = states is not None and isinstance(states.store, StatesInMemory)
        limit = int(self.recipe.encoder.cache_gib * 2**30)
        self._states = EncoderStates(states.encoder, StatesInMemory(limit), states.device) if states and apart else states

    def answer(self) -> Answered:
        """Answer all questions with the present weights."""
        kept, self.bridge.states = self.bridge.states, self._states
        try:
            lines = {one.language: self._lines(one) for one in self.benchmarks}
        finally:
            self.bridge.states = kept
        languages = {code: (sum(bool(line["correct"]) for line in found), len(found)) for code, found in lines.items()}
        right, questions = (sum(counts) for counts in zip(*languages.values(), strict=True))
        each = -(-_SAMPLES // len(lines))
        samples = [_sample(code, line) for code, found in lines.items() for line in found[:each]]
        return Answered(languages, wilson_interval(right, questions), samples[:_SAMPLES])

    def _lines(self, benchmark: Benchmark) -> list[dict[str, Any]]:
        """The answers in one language, and whether they are right."""
        texts = [question.text for question in benchmark.questions]
        responses = self._responses(benchmark, texts)
        return [
            line_of(question, benchmark, [Response(0, text)], cut=False)
            for question, text in zip(benchmark.questions, responses, strict=True)
        ]

    def _responses(self, benchmark: Benchmark, texts: Sequence[str]) -> list[str]:
        while True:
            try:
                return self._responder(benchmark).generate(texts)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.batch_tokens <= LEAST_BATCH_TOKENS:
                    raise
                self.batch_tokens //= 2
                free_memory()

    def _responder(self, benchmark: Benchmark) -> Generates:
        bridge = BridgeResponder(
            self.bridge,
            self.tokenisation,
            max_new_tokens=self.recipe.evaluate.max_new_tokens,
            batch_tokens=self.batch_tokens,
        )
        responder = bridge.in_language(benchmark.language)
        if not all(question.labels for question in benchmark.questions):
            return cast("Generates", responder)
        own = {question.text: question.labels for question in benchmark.questions}
        return LikelihoodResponder(responder, (), own)


def _sample(language: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """What a watch keeps of one answer."""
    texts = {name: _shortened(str(line[name])) for name in ("question", "response")}
    return {"language": language, **texts, **{name: line[name] for name in ("gold", "extracted", "correct")}}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SAMPLE else f"{text[:_LONGEST_SAMPLE]}…"
