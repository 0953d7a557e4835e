"""A bridged model behind the interface of evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.tokenization import Limits, Tokenisation
from lilift.data.texts.examples import Row
from lilift.data.texts.prompt_templates import TEMPLATES
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.evaluator import LIFTED
from lilift.evaluate.language_evaluation import LanguageEvaluation
from lilift.evaluate.responders import BridgeResponder, CutsQuestions, ReadsLanguages, StreamsResponses, seed_of
from lilift.model.decoding.generation import Reply
from lilift.phases.answering.answerer import Answerer, asked_in
from lilift.recipe.errors import DataError, RecipeError
from lilift.recipe.schema import BenchmarkSettings


class LetterTokenizer:
    """One token a character, and an end token 0: enough to see what reaches the model."""

    unknown_id = None
    eos_token_id: int | None = 0

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        letters = [ord(letter) for letter in text]
        return [*letters, 0] if max_tokens is None else [*letters[: max_tokens - 1], 0]

    def __call__(self, text: list[str], **_options: bool) -> Any:
        return {"input_ids": [[ord(letter) for letter in one] for one in text]}


class Parrot:
    """Answers with what it was given to read, last row first, and notes its limits and seeds."""

    states = None  # its encoder is on the card

    def __init__(self) -> None:
        self.limits: list[tuple[int, int]] = []
        self.seeds: list[int] = []

    def stream(
        self, rows: Sequence[Row], *, max_new_tokens: int, batch_tokens: int, sampling: Any, seeds: Any
    ) -> Iterator[Reply]:
        self.limits.append((max_new_tokens, batch_tokens))
        self.seeds += seeds
        assert sampling is None
        for place in reversed(range(len(rows))):
            row = rows[place]
            text = "".join(map(chr, row.encoder_ids[:-1])) + "|" + "".join(map(chr, row.prompt_ids))
            yield Reply(place, text, len(text), ended=True)


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def responder(parrot: Parrot) -> BridgeResponder:
    tokenisation = Tokenisation(
        encoder=LetterTokenizer(),
        llm=LetterTokenizer(),
        template=TEMPLATES["plain"],
        layout="soft+text",
        shape=SequenceShape(has_bos=True, has_eos=True, latents=None),
        has_llm_bos=True,
        limits=Limits(source=9, sequence=100, policy="error"),
    )
    return BridgeResponder(parrot, tokenisation, max_new_tokens=7, batch_tokens=99)


def test_questions_reach_the_model_in_order_with_the_prompt_of_training(responder: BridgeResponder, parrot: Parrot) -> None:
    assert responder.generate(["b? 2", "a? 1"]) == ["b? 2|b? 2\nAnswer:", "a? 1|a? 1\nAnswer:"]
    assert parrot.limits == [(7, 99)]


def test_a_question_beyond_the_encoders_limit_is_cut_and_flagged(responder: BridgeResponder) -> None:
    fits, too_long = "12345678", "123456789"
    assert isinstance(responder, CutsQuestions)
    assert responder.cuts([too_long, fits]) == [True, False]
    assert responder.generate([too_long, fits]) == ["12345678|123456789\nAnswer:", "12345678|12345678\nAnswer:"]


def test_each_sample_of_a_question_comes_with_the_question_and_has_a_seed_of_its_own(
    responder: BridgeResponder, parrot: Parrot
) -> None:
    assert isinstance(responder, StreamsResponses)
    found = list(responder.stream(["a", "b"], samples=3))
    assert [one.question for one in found] == [1, 1, 1, 0, 0, 0]
    assert {(one.question, one.text[0]) for one in found} == {(0, "a"), (1, "b")}
    assert len(set(parrot.seeds)) == 6
    assert parrot.seeds[3:] == [seed_of("b", sample) for sample in range(3)], "whatever else is asked"
    list(responder.stream(["b"], samples=3))
    assert parrot.seeds[6:] == parrot.seeds[3:6]


def test_spare_memory_is_freed_before_batches_shrink(
    parrot: Parrot, responder: BridgeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = ["a", "b", "c"]
    expected = responder.generate(questions)
    stream, failures = Parrot.stream, [True, True]

    def scarce(self: Parrot, rows: Sequence[Row], **limits: Any) -> Iterator[Reply]:
        for reply in stream(self, rows, **limits):
            if failures:
                failures.pop()
                raise MemoryError
            yield reply

    monkeypatch.setattr(Parrot, "stream", scarce)
    spare = [False, True]
    responder._spare = spare.pop
    parrot.limits.clear()
    assert responder.generate(questions) == expected
    assert [budget for _, budget in parrot.limits] == [99, 99, 49]
    assert not spare


def test_where_memory_runs_out_the_other_rows_are_begun_again_with_half_the_batch(
    parrot: Parrot, responder: BridgeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was complete is not asked again, and every answer stays with its own question."""
    questions = [f"q{number}" for number in range(7)]
    expected = responder.generate(questions)
    largest = parrot.limits[0][1]
    stream, asked = Parrot.stream, []

    def scarce(self: Parrot, rows: Sequence[Row], **limits: Any) -> Iterator[Reply]:
        asked.append(len(rows))
        for number, reply in enumerate(stream(self, rows, **limits)):
            if limits["batch_tokens"] > largest // 2 and number == 2:
                raise MemoryError
            yield reply

    monkeypatch.setattr(Parrot, "stream", scarce)
    assert responder.generate(questions) == expected
    assert asked == [7, 5]
    assert parrot.limits[-1][1] == largest // 2


class AnnouncingTokenizer(LetterTokenizer):
    """A tokenizer that puts the first letter of the language before a text."""

    source_languages = ("sw", "en")

    def __init__(self, language: str | None = None) -> None:
        self.language = language

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        return super().encode(f"<{self.language}> {text}", max_tokens)

    def in_language(self, language: str | None) -> AnnouncingTokenizer:
        return AnnouncingTokenizer(language)


def test_the_encoder_is_told_the_language_of_the_questions(responder: BridgeResponder, parrot: Parrot, tmp_path: Path) -> None:
    assert not responder.announces_languages
    assert responder.in_language("sw") is responder
    tokenisation = replace(responder._tokenisation, encoder=AnnouncingTokenizer(), limits=Limits(50, 100, "error"))
    told = BridgeResponder(parrot, tokenisation, max_new_tokens=7, batch_tokens=99)
    assert isinstance(told, ReadsLanguages)
    assert told.in_language("sw").generate(["a"]) == ["<sw> a|a\nAnswer:"]
    assert told.generate(["a"]) == ["<None> a|a\nAnswer:"]
    narrow = replace(tokenisation, limits=Limits(9, 100, "error"))
    assert BridgeResponder(parrot, narrow, max_new_tokens=7, batch_tokens=99).in_language("sw").cuts(["abc", "abcd"]) == [
        False,
        True,
    ]
    benchmark = load_benchmark(BenchmarkSettings(name="world", limit=2), "om", seed=0)
    evaluation = LanguageEvaluation(told, benchmark, tmp_path / "om.jsonl", samples=1)
    assert sum(evaluation.answer_pending(2)) == 2
    assert all(line["response"].startswith("<om> ") for line in evaluation._answers.values())


def test_chat_announces_the_language_of_the_run_or_the_one_that_is_named(responder: BridgeResponder, parrot: Parrot) -> None:
    def model(*languages: str, announces: bool = True) -> Answerer:
        encoder = AnnouncingTokenizer() if announces else LetterTokenizer()
        tokenisation = replace(responder._tokenisation, encoder=encoder, limits=Limits(50, 100, "error"))
        made = BridgeResponder(parrot, tokenisation, max_new_tokens=7, batch_tokens=99)
        return Answerer(made, LIFTED, languages, 0, {}, Path())

    for languages, named, announced in [
        (("en", "sw"), None, "sw"),
        (("sw", "bn"), None, "en"),
        (("sw", "bn"), "Bengali", "bn"),
    ]:
        chosen, note = asked_in(model(*languages), named)
        assert chosen.generate(["a"]) == [f"<{announced}> a|a\nAnswer:"]
        assert (note is None) == (named is not None)
    assert asked_in(model("sw", announces=False), None)[1] is None
    with pytest.raises(RecipeError, match="--language has no effect on this model"):
        asked_in(model("sw", announces=False), "sw")
    with pytest.raises(DataError, match="unknown language"):
        asked_in(model("sw"), "Klingonish")
