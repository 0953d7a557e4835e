"""Answers side by side have the same tokens, and the same bits behind them, as alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilift.export.runner.answer_batch import AnswerBatch, agreeing_widths
from lilift.export.runner.exported_bridge import ExportedBridge
from lilift.model.decoding.sampling import Sampling
from lilift.recipe.errors import DataError
from tests.export.exported_run import QUESTIONS

LONG = "Omar kanniisa 25 qaba. " * 40
ASKED = [*QUESTIONS, LONG, "Maria has 12 apples.", "x"]


@pytest.fixture(scope="module", params=["f32", "q8_0"])
def bridge(exported: Path, request: pytest.FixtureRequest) -> Iterator[ExportedBridge]:
    bridge = ExportedBridge(exported, quantisation=request.param, threads=1)
    yield bridge
    bridge.close()


class Recorder:
    """Remembers the logits behind every token of the answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[int, list[Any]] = {}
        from lilift.export.runner import answer_batch

        def chooser(_: Any, seed: int) -> Any:
            rows = self.rows.setdefault(seed, [])

            def choose(logits: Any) -> int:
                rows.append(logits.copy())
                return int(logits.argmax())

            return choose

        monkeypatch.setattr(answer_batch, "chooser", chooser)


def answers(batch: AnswerBatch, bridge: ExportedBridge, places: list[int], *, tokens: int = 12) -> dict[int, str]:
    """The answers to some questions, as many side by side as there is room for."""
    prompts = {place: bridge.prepare(ASKED[place]) for place in places}
    texts = dict.fromkeys(places, "")
    running: dict[int, int] = {}
    waiting, most = list(places), 0
    while waiting or running:
        while waiting and batch.has_room(prompts[waiting[0]], tokens):
            place = waiting.pop(0)
            number, piece = batch.start(prompts[place], max_new_tokens=tokens, sampling=None, seed=place)
            texts[place] += piece.text
            if piece.ending is None:
                running[number] = place
        most = max(most, len(batch))
        for number, piece in batch.step().items() if len(batch) else ():
            texts[running[number]] += piece.text
            if piece.ending is not None:
                del running[number]
    assert most == min(len(places), batch.widths[-1]), "they must run at the same time"
    return texts


def test_answers_side_by_side_have_the_bits_of_those_alone(bridge: ExportedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    batch = bridge.batch(4)
    together = answers(batch, bridge, list(range(len(ASKED))))
    rows, recorder.rows = recorder.rows, {}
    alone = [answers(batch, bridge, [place])[place] for place in range(len(ASKED))]
    assert list(together.values()) == alone
    for place in range(len(ASKED)):
        np.testing.assert_array_equal(np.stack(rows[place]), np.stack(recorder.rows[place]))


def test_the_text_is_that_of_an_answer_one_at_a_time(bridge: ExportedBridge) -> None:
    found = answers(bridge.batch(3), bridge, [0, 1, 2])
    for place in range(3):
        pieces = bridge.stream(bridge.prepare(ASKED[place]), max_new_tokens=12)
        assert found[place] == "".join(piece.text for piece in pieces)


def test_widths_agree_or_are_left_out(bridge: ExportedBridge) -> None:
    """Measured on AVX2: float types have one exception, a step with a single token; 8-bit weights have none."""
    widths = bridge.batch(4).widths
    assert widths[-1] == 4
    assert set(widths) >= ({2, 3, 4} if bridge.quantisation == "f32" else {1, 2, 3, 4})


def test_a_width_with_other_bits_is_not_used() -> None:
    class Llama:
        vocabulary_size = 3

        def forget(self, _: int) -> None:
            pass

        def read_side_by_side(self, tokens: Any) -> Any:
            """Four columns make one block with an order of its own; the columns after it are computed one by one."""
            return np.array([[float(len(tokens) >= 4 and place < 4)] * 3 for place in range(len(tokens))])

    assert agreeing_widths(Llama(), 8) == [4]  # type: ignore[arg-type]
    assert agreeing_widths(Llama(), 3) == [1, 2, 3]  # type: ignore[arg-type]


def test_an_answer_that_needs_more_room_gets_it_alone(bridge: ExportedBridge) -> None:
    batch = bridge.batch(4)
    prompt = bridge.prepare("Omar")
    number, _ = batch.start(prompt, max_new_tokens=8, sampling=None, seed=0)
    usual = bridge._llm.shape
    assert batch.has_room(prompt, 8)
    assert not batch.has_room(prompt, 900), "it waits until the others are complete"
    batch.leave(number)
    long, piece = batch.start(prompt, max_new_tokens=900, sampling=Sampling(temperature=1.0), seed=0)
    assert piece.ending is None
    assert bridge._llm.shape[1] > usual[1]
    assert bridge._llm.shape[0] < usual[0]
    assert not batch.has_room(prompt, 8), "the usual sequences come back after it"
    batch.leave(long)
    assert answers(batch, bridge, [0, 1]) == answers(bridge.batch(4), bridge, [0, 1])
    assert bridge._llm.shape == usual


def test_a_question_without_room_is_refused_and_leaves_the_batch_as_it_was(
    bridge: ExportedBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = bridge.batch(2)
    prompt = bridge.prepare("Omar")
    with monkeypatch.context() as patch:
        patch.setattr(ExportedBridge, "longest_sequence", 3)
        with pytest.raises(DataError, match="no room for an answer"):
            batch.start(prompt, max_new_tokens=8, sampling=None, seed=0)
    assert len(batch) == 0
    assert list(bridge.stream(prompt, max_new_tokens=2)), "others may use the LLM"
