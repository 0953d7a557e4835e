"""What a person sees while a stage trains."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lilift.train.training_progress import LiveProgress, NoProgress, PlainProgress, StepReport, progress_for


def report(step: int, *, loss: float = 2.0, seconds: float = 1.0) -> StepReport:
    return StepReport(
        step=step, total_steps=10, epoch=1, loss=loss, learning_rate=6e-4, tokens=500, seconds=seconds, memory_mib=812.4
    )


def test_plain_lines_come_now_and_then_and_at_both_ends() -> None:
    lines: list[str] = []
    now = [100.0]
    progress = PlainProgress(lines.append, every_seconds=10.0, clock=lambda: now[0])
    progress.begin("align", total_steps=10, done_steps=0)
    for step in range(1, 11):
        now[0] += 4.0
        progress.step(report(step))
    progress.note("a warning")
    progress.end()
    steps = [line.split(",")[0] for line in lines if "step " in line]
    assert steps == ["align: step 1/10", "align: step 4/10", "align: step 7/10", "align: step 10/10"]
    assert lines[0] == "align: 10 steps"
    assert lines[1] == ("align: step 1/10, epoch 1, loss 2.0000, learning rate 6.00e-04, 500 tokens/s, 812 MiB")
    assert lines[2].endswith("812 MiB, 24 s left")
    assert lines[-1] == "a warning"


def test_time_left_counts_only_the_steps_of_this_process_after_its_first() -> None:
    lines: list[str] = []
    now = [0.0]
    progress = PlainProgress(lines.append, clock=lambda: now[0])
    progress.begin("align", total_steps=10, done_steps=6)
    for step, seconds in ((7, 400.0), (8, 100.0)):  # the first one compiles kernels
        now[0] += seconds
        progress.step(report(step))
    assert lines[0] == "align: 10 steps, continuing after step 6"
    assert lines[1].endswith("812 MiB")
    assert lines[2].endswith("3 min 20 s left")


def test_the_shown_loss_is_a_mean() -> None:
    lines: list[str] = []
    progress = PlainProgress(lines.append, every_seconds=0.0, clock=lambda: 0.0)
    progress.begin("align", total_steps=10, done_steps=0)
    for step, loss in ((1, 1.0), (2, 3.0)):
        progress.step(report(step, loss=loss))
    assert "loss 2.0000" in lines[-1]


def test_the_live_display_shows_where_the_stage_is() -> None:
    stream = io.StringIO()
    progress = LiveProgress(Console(file=stream, force_terminal=True, width=150, highlight=False))
    progress.begin("align", total_steps=10, done_steps=3)
    progress.step(report(4))
    progress.note("going back to [step 3]")
    progress.step(report(5, loss=4.0))
    progress.end()
    shown = stream.getvalue()
    assert "going back to [step 3]" in shown
    assert "5/10" in shown
    assert "loss 3.0000" in shown
    assert "812 MiB" in shown


def test_a_second_stage_gets_its_own_line() -> None:
    stream = io.StringIO()
    progress = LiveProgress(Console(file=stream, force_terminal=True, width=150, highlight=False))
    for stage in ("align", "transfer"):
        progress.begin(stage, total_steps=10, done_steps=0)
        progress.step(report(1, loss=1.0 if stage == "align" else 5.0))
        progress.end()
        progress.note(f"{stage} is over")
    second = stream.getvalue().split("align is over")[1]
    assert "loss 5.0000" in second
    assert "align" not in second


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    progress = progress_for(stream)
    assert isinstance(progress, PlainProgress)
    progress.note("hello")
    assert stream.getvalue() == "hello\n"
    quiet = NoProgress()
    quiet.begin("align", total_steps=1, done_steps=0)
    quiet.step(report(1))
    quiet.note("a warning")
    quiet.end()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a warning\n")
