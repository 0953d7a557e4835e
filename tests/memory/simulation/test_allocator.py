"""The model of torch's CUDA allocator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift.memory.simulation.allocator import LARGE_SEGMENT, PAGE, SMALL_SEGMENT, replay

MIB = 2**20


@pytest.mark.parametrize(
    ("size", "reserved"),
    [(1, SMALL_SEGMENT), (MIB, SMALL_SEGMENT), (MIB + 1, LARGE_SEGMENT), (9 * MIB, LARGE_SEGMENT), (11 * MIB - 5, 12 * MIB)],
)
def test_one_block_takes_the_segment_of_its_size(size: int, reserved: int) -> None:
    """As documented in torch's allocator: 2 MiB, 20 MiB, or its own rounded to 2 MiB."""
    assert replay([(0, size)], expandable=False).reserved == reserved


def test_a_freed_block_is_used_again_and_merged_with_its_neighbours() -> None:
    events = [(0, 8 * MIB), (1, 8 * MIB), (0, -8 * MIB), (1, -8 * MIB), (2, 9 * MIB)]
    assert replay(events, expandable=False).reserved == LARGE_SEGMENT
    assert replay([*events, (3, 12 * MIB)], expandable=False).reserved == LARGE_SEGMENT + 12 * MIB


def test_expandable_segments_grow_where_others_start_anew() -> None:
    """Blocks that grow step by step are the case they were made for."""
    events = []
    for number in range(1, 20):
        size = number * 30 * MIB
        events += [(number, size), (number, -size)]
    assert replay(events, expandable=False).reserved > 1.9 * replay(events, expandable=True).reserved


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int]]:
    sizes = draw(st.lists(st.integers(1, 64 * MIB), min_size=1, max_size=40))
    events, alive = [], []
    for block, size in enumerate(sizes):
        events.append((block, size))
        alive.append(block)
        while alive and draw(st.booleans()):
            gone = alive.pop(draw(st.integers(0, len(alive) - 1)))
            events.append((gone, -sizes[gone]))
    return events


@given(events=histories(), expandable=st.booleans())
def test_no_more_is_used_than_reserved_and_nothing_is_given_away_twice(events: list[tuple[int, int]], expandable: bool) -> None:
    now = most = 0
    for _, size in events:
        now += size
        most = max(most, now)
    found = replay(events, expandable=expandable)
    assert found.reserved >= found.allocated >= most
    assert found.reserved % PAGE == 0
    assert found.allocated <= most + 512 * len(events)
