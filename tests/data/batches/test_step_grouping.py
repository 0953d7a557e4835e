"""Optimizer steps: every row once an epoch, little padding, the same again, and resumable anywhere."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.data.batches.batching import SequenceShape
from lilift.data.batches.step_grouping import NARROW, Position, Step, StepPlan, iterate_steps, survey_steps
from lilift.data.texts.examples import Row
from lilift.data.texts.instructions import load_instructions
from lilift.recipe.errors import DataError
from lilift.recipe.schema import InstructionSettings

SHAPE = SequenceShape(has_bos=True, has_eos=True, latents=None)


class Lengths:
    """Rows of given lengths; a length of None is a row that the length policy drops. Notes what was asked for."""

    def __init__(self, lengths: Sequence[int | None]) -> None:
        self.lengths = lengths
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:  # noqa: ARG002  every epoch is alike
        self.asked += indices
        return [self._row(self.lengths[index]) for index in indices]

    def row_name(self, index: int) -> str:
        return f"file.jsonl:{index + 1}"

    @staticmethod
    def _row(length: int | None) -> Row | None:
        return None if length is None else Row((5,) * (length - 5), (6,), (7, 2))  # two boundary vectors


def plan(tokens_per_step: int = 400, tokens_per_micro_batch: int = 100, seed: int = 0, pool_rows: int = 50) -> StepPlan:
    return StepPlan(SHAPE, False, tokens_per_step, tokens_per_micro_batch, seed, pool_rows)


def epoch_of(source: Lengths, settings: StepPlan, epoch: int = 0) -> list[Step]:
    steps = itertools.takewhile(lambda step: step.position.epoch == epoch, iterate_steps(source, settings, Position(epoch)))
    return list(steps)


def row_ids(steps: Sequence[Step]) -> list[int]:
    return [index for step in steps for micro_batch in step.row_ids for index in micro_batch]


@given(
    st.lists(st.one_of(st.none(), st.integers(6, 60)), min_size=1, max_size=150).filter(any),
    st.integers(100, 1000),
    st.integers(0, 3),
)
def test_an_epoch_has_every_kept_row_once_within_the_budget(lengths: list[int | None], tokens_per_step: int, seed: int) -> None:
    source = Lengths(lengths)
    settings = plan(tokens_per_step, seed=seed)
    steps = epoch_of(source, settings)
    assert sorted(row_ids(steps)) == [index for index, length in enumerate(lengths) if length is not None]
    for step in steps:
        for micro_batch, ids in zip(step.micro_batches, step.row_ids, strict=True):
            sizes = [SHAPE.packed_length(row, has_llm_bos=False) for row in micro_batch]
            assert sizes == [lengths[index] for index in ids]
            assert len(sizes) * max(sizes) <= settings.tokens_per_micro_batch
        assert step.tokens == sum(length for index in row_ids([step]) if (length := lengths[index]))
        assert step.loss_tokens == 2 * len(row_ids([step]))


@given(st.integers(0, 200), st.data())
def test_resuming_at_any_step_gives_exactly_the_rest(seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    source = Lengths([rng.choice([None, *range(6, 60)]) for _ in range(170)])
    undisturbed = list(itertools.islice(iterate_steps(source, plan()), 40))
    stop = data.draw(st.integers(0, 38))
    source.asked.clear()
    resumed = list(itertools.islice(iterate_steps(source, plan(), undisturbed[stop].following), 39 - stop))
    assert resumed == undisturbed[stop + 1 :]


def test_resuming_rebuilds_no_more_than_the_pool_it_is_in() -> None:
    source = Lengths([20] * 500)
    steps = epoch_of(source, plan())
    late = next(step for step in steps if step.position.pool == 7)
    source.asked.clear()
    next(iterate_steps(source, plan(), late.position))
    assert len(source.asked) == 50


def test_the_next_epoch_is_in_another_order_and_another_seed_too() -> None:
    source = Lengths([random.Random(0).randrange(6, 60) for _ in range(100)])
    first, second = row_ids(epoch_of(source, plan(), 0)), row_ids(epoch_of(source, plan(), 1))
    other = row_ids(epoch_of(source, plan(seed=1), 0))
    assert first == row_ids(epoch_of(source, plan(), 0))
    assert first != second
    assert first != other
    assert sorted(first) == sorted(second) == sorted(other)


def test_pools_are_drawn_anew_in_each_epoch() -> None:
    source = Lengths([20] * 100)

    def first_pool(epoch: int) -> set[int]:
        source.asked.clear()
        next(iterate_steps(source, plan(), Position(epoch)))
        return set(source.asked)

    assert first_pool(0) == first_pool(0) != first_pool(1)


def test_steps_mix_lengths_instead_of_running_from_short_to_long() -> None:
    source = Lengths([6 + index % 50 for index in range(1000)])
    steps = epoch_of(source, plan(pool_rows=1000))
    means = [step.tokens / len(row_ids([step])) for step in steps]
    assert means != sorted(means)


@pytest.mark.parametrize(("spread", "sorted_"), [(NARROW, False), (NARROW + 1, True)])
def test_rows_of_similar_length_are_not_sorted_because_a_length_can_give_the_answer_away(spread: int, sorted_: bool) -> None:
    source = Lengths([10 + spread * (index % 4 == 0) for index in range(400)])
    micro_batches = [ids for step in epoch_of(source, plan(pool_rows=400)) for ids in step.row_ids]
    shares = [sum(index % 4 == 0 for index in ids) / len(ids) for ids in micro_batches]
    mixed = sum(0 < share < 1 for share in shares)
    assert (mixed <= 1) if sorted_ else (mixed > 0.8 * len(shares))


def test_nearly_all_tokens_are_real() -> None:
    rng = random.Random(3)
    source = Lengths([min(900, max(20, int(rng.lognormvariate(4.8, 0.5)))) for _ in range(8000)])
    settings = StepPlan(SHAPE, False, tokens_per_step=16384, tokens_per_micro_batch=4096, seed=0)
    steps = epoch_of(source, settings)
    padded = sum(
        len(micro_batch) * max(SHAPE.packed_length(row, has_llm_bos=False) for row in micro_batch)
        for step in steps
        for micro_batch in step.micro_batches
    )
    real = sum(step.tokens for step in steps)
    assert real == sum(length or 0 for length in source.lengths)
    assert real / padded >= 0.95
    assert all(0.5 * 16384 <= step.tokens <= 1.5 * 16384 for step in steps)


def test_a_row_over_the_budget_is_named() -> None:
    with pytest.raises(DataError, match=r"file\.jsonl:2: a row of 101 tokens does not fit"):
        epoch_of(Lengths([20, 101, 20]), plan())


def test_nothing_to_train_on_is_an_error_and_not_an_endless_loop() -> None:
    with pytest.raises(DataError, match="no rows to train on"):
        next(iterate_steps(Lengths([]), plan()))
    with pytest.raises(DataError, match="drop all 3 rows"):
        next(iterate_steps(Lengths([None] * 3), plan()))


def test_planned_steps_follow_epochs_and_stop_counting_at_the_maximum() -> None:
    source = Lengths([20] * 500)
    one = len(epoch_of(source, plan()))
    assert survey_steps(source, plan(), epochs=1, max_steps=None).steps == one
    assert survey_steps(source, plan(), epochs=2.5, max_steps=None).steps == int(2.5 * one + 0.5)
    assert survey_steps(source, plan(), epochs=3, max_steps=10**6).steps == 3 * one
    assert survey_steps(source, plan(), epochs=0.001, max_steps=None).steps == 1
    source.asked.clear()
    assert survey_steps(source, plan(), epochs=1, max_steps=2).steps == 2
    assert len(source.asked) == 50


def test_batches_of_real_problems_are_hardly_padded(shared_data: Path) -> None:
    """GSM8K's questions and solutions, a token a word, with the shipped recipe's sizes."""
    settings = InstructionSettings(source=str(shared_data / "gsm8k" / "train.jsonl.gz"))
    examples, _ = load_instructions(settings, seed=0)
    source = Lengths([5 + len(example.question.split()) + len(example.response.split()) for example in examples])
    steps = epoch_of(source, plan(tokens_per_step=32768, tokens_per_micro_batch=4096, pool_rows=4096))
    assert sorted(row_ids(steps)) == list(range(len(examples)))
    micro_batches = [rows for step in steps for rows in step.micro_batches]
    longest = [max(SHAPE.packed_length(row, has_llm_bos=False) for row in rows) for rows in micro_batches]
    places = sum(len(rows) * length for rows, length in zip(micro_batches, longest, strict=True))
    assert sum(step.tokens for step in steps) >= 0.98 * places
