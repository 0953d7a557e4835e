"""Work continues with half as much at a time when memory runs out."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilift.memory.guard import PATIENCE, OutOfMemoryGuard, is_out_of_memory


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.usefixtures("few_objects")
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), room=st.integers(50, 400))
def test_everything_is_done_once_and_in_order_whatever_fits(lengths: list[int], room: int) -> None:
    done: list[int] = []

    def work(part: list[int]) -> None:
        if sum(lengths[index] for index in part) > room:
            raise full()
        done.extend(part)

    OutOfMemoryGuard(lambda _line: None).run(
        list(range(len(lengths))), work, size=lambda part: sum(lengths[index] for index in part)
    )
    assert done == list(range(len(lengths)))


def test_what_was_learnt_is_used_for_what_follows() -> None:
    notes: list[str] = []
    guard = OutOfMemoryGuard(notes.append)
    asked: list[int] = []

    def work(part: list[int]) -> None:
        asked.append(len(part))
        if len(part) > 3:
            raise full()

    guard.run(list(range(8)), work, size=len)
    assert asked == [8, 4, 2, 2, 2, 2]
    assert guard.budget == 2
    asked.clear()
    guard.run(list(range(8)), work, size=len)
    assert asked == [2, 2, 2, 2]
    assert notes == [
        "memory ran out; lilift continues with at most 4 tokens at once",
        "memory ran out; lilift continues with at most 2 tokens at once",
    ]


@pytest.mark.usefixtures("few_objects")
def test_a_single_item_is_tried_a_few_times_and_then_the_failure_is_told() -> None:
    tries: list[int] = []

    def work(part: list[int]) -> None:
        tries.append(len(part))
        raise full()

    with pytest.raises(torch.OutOfMemoryError):
        OutOfMemoryGuard(lambda _line: None).run([1], work, size=len)
    assert len(tries) == PATIENCE


def test_nothing_of_a_failed_attempt_stays_in_memory() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def work(_part: list[int]) -> None:
        if len(alive) == 1:
            assert alive[0]() is None
        large = torch.zeros(10)
        alive.append(weakref.ref(large))
        if len(alive) == 1:
            raise full()

    gc.disable()  # it must not take a collector of cycles
    try:
        OutOfMemoryGuard(lambda _line: None).run([1, 2], work, size=len)
    finally:
        gc.enable()


def test_only_a_lack_of_memory_is_caught() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("CUDA out of memory"))

    def work(_part: list[int]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        OutOfMemoryGuard(lambda _line: None).run([1], work, size=len)
