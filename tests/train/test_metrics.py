"""The metrics file of a stage."""

from __future__ import annotations

import pytest

from lilift.train.metrics import MetricsLine, Totals, Window
from lilift.train.step import StepOutcome


def test_a_line_weighs_by_tokens_and_covers_its_window_only() -> None:
    window, totals = Window(), Totals()
    first = StepOutcome(loss=4.0, grad_norm=1.0, loss_tokens=10, tokens=100)
    second = StepOutcome(loss=1.0, grad_norm=3.0, loss_tokens=30, tokens=300)
    for outcome, memory in ((first, 500.0), (second, 400.0)):
        window.add(outcome, 2.0)
        totals.add(outcome, 2.0, memory)
    line = MetricsLine.of(window, totals, epoch=2, learning_rate=0.5)
    assert line.loss == pytest.approx((4.0 * 10 + 1.0 * 30) / 40)
    assert line.grad_norm == 2.0
    assert line.tokens_per_second == 100.0
    assert (line.step, line.epoch, line.tokens, line.seconds, line.memory_mib) == (2, 2, 400, 4.0, 500.0)
    third = StepOutcome(loss=9.0, grad_norm=1.0, loss_tokens=1, tokens=1)
    window = Window()
    window.add(third, 1.0)
    totals.add(third, 1.0, 0.0)
    line = MetricsLine.of(window, totals, epoch=2, learning_rate=0.5)
    assert (line.loss, line.step, line.tokens) == (9.0, 3, 401)
