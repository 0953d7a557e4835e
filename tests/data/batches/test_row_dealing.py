"""Rows are dealt to processes without losing one, and so that all have about the same work."""

from __future__ import annotations

import random

import pytest

from lilift.data.batches.row_dealing import deal_rows


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_every_row_is_dealt_once_and_the_shares_are_alike(processes: int) -> None:
    rng = random.Random(1)
    for micro_batches_of_step in (1, 2, 3, 7, 8):
        lengths = sorted(rng.randint(8, 200) for _ in range(400))
        cut = [lengths[start : start + 12] for start in range(0, 400, 12)]
        step = rng.sample(cut, micro_batches_of_step)
        dealt = deal_rows(step, processes, lambda row: row)
        assert len(dealt) == processes
        assert sorted(row for share in dealt for rows in share for row in rows) == sorted(row for rows in step for row in rows)
        work = [sum(len(rows) * max(rows) for rows in share) for share in dealt]
        assert max(work) <= 1.1 * sum(work) / processes + max(map(max, step))
        largest = max(len(rows) * max(rows) for rows in step)
        assert all(len(rows) * max(rows) <= largest for share in dealt for rows in share), "a part fits where the whole does"


def test_whole_micro_batches_stay_together_where_they_are_alike() -> None:
    step = [[10, 10], [20], [10, 10], [20]]
    assert deal_rows(step, 2, lambda row: row) == [[[10, 10], [10, 10]], [[20], [20]]]


def test_fewer_rows_than_processes_leave_some_without_work() -> None:
    assert deal_rows([[5]], 3, lambda row: row) == [[[5]], [], []]
