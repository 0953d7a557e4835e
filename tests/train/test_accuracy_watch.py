"""Watching foreign questions while a stage trains: the rule, the best weights, and resuming to the bit."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lilift.model.assemble_bridge import load_bridge
from lilift.recipe.interrupt import StoppedBySignal
from lilift.recipe.storage import JsonLines
from lilift.train.accuracy_watch import Answered, WatchPlan
from lilift.train.stages import run_stage
from lilift.train.training_progress import NoProgress, StepReport
from lilift.train.watch_lines import best_watch, fall
from tests.train import tiny_run
from tests.train.tiny_run import TinySource

STEPS, EVERY = 8, 2


class Listener(NoProgress):
    """Keeps lines, and may do something after a step."""

    def __init__(self, after: Callable[[StepReport], None] = lambda _report: None) -> None:
        self.lines: list[str] = []
        self.step = after  # type: ignore[method-assign]

    def note(self, text: str) -> None:
        self.lines.append(text)

    detail = note


def train(
    models: Path, folder: Path, right: dict[int, int], *, listener: Listener | None = None, watch: bool = True
) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """Train stage 2 with a watch that answers real prompts and draws numbers, and then says what `right` has for its step.

    Returns:
        The weights at the end, and those at each watch.
    """
    during = [f"evaluate={{during: {{benchmark: world, every: {EVERY}, keep: best}}}}"] if watch else []
    recipe = tiny_run.make_recipe(models, f"transfer.max_steps={STEPS}", *during)
    bridge = load_bridge(recipe, device="cpu")
    seen: dict[int, dict[str, Tensor]] = {}
    steps = [0]

    def trained() -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in bridge.named_parameters() if one.requires_grad}

    def answer() -> Answered:
        [row] = TinySource().rows(0, [5])
        assert row is not None
        bridge.generate([row], max_new_tokens=3)
        torch.rand(3)
        seen[steps[0]] = trained()
        return Answered({"om": (right.get(steps[0], 0), 40), "fj": (right.get(steps[0], 0), 40)}, (0.0, 1.0))

    listener = listener or Listener()
    after = listener.step

    def step(report: StepReport) -> None:
        steps[0] = report.step
        after(report)

    listener.step = step  # type: ignore[method-assign]
    done = JsonLines(folder / "metrics.jsonl").read()
    steps[0] = int(done[-1]["step"]) if done else 0
    plan = WatchPlan(answer, EVERY, keep_best=True) if watch else None
    run_stage(bridge, TinySource(), recipe, folder, name="transfer", progress=listener, watch=plan)
    return trained(), seen


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def unwatched(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    weights, _ = train(models, tmp_path_factory.mktemp("unwatched"), {}, watch=False)
    return weights


def test_a_watch_changes_no_bit_of_training_warns_once_and_keeps_the_best_weights(
    models: Path, tmp_path: Path, unwatched: dict[str, Tensor]
) -> None:
    """The same holds for a run that is interrupted between two watches and resumed."""
    right = {0: 10, 2: 30, 4: 30, 6: 20, 8: 5}
    listener = Listener()
    whole, seen = train(models, tmp_path / "whole", right, listener=listener)
    assert same(seen[STEPS], unwatched)
    assert same(whole, seen[4])  # the latest of the two best
    lines = JsonLines(tmp_path / "whole" / "during.jsonl").read()
    assert [(line["step"], line["right"]) for line in lines] == [(step, 2 * count) for step, count in right.items()]
    assert lines[1]["languages"] == {"om": {"right": 30, "questions": 40}, "fj": {"right": 30, "questions": 40}}
    [warning] = [line for line in listener.lines if "begun to fall" in line]
    assert "50% and 12% since step 6, after 75% at step 4. Train fewer steps, or lower" in warning
    assert not (tmp_path / "whole" / "checkpoints").exists()

    def interrupt(report: StepReport) -> None:
        if report.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    parts = tmp_path / "parts"
    with pytest.raises(StoppedBySignal):
        train(models, parts, right, listener=Listener(interrupt))
    assert [path.name for path in (parts / "checkpoints").glob("best-*")] == ["best-00000004"]
    resumed, _ = train(models, parts, right)
    assert same(resumed, whole)
    again = JsonLines(parts / "during.jsonl").read()
    assert [line | {"seconds": 0} for line in again] == [line | {"seconds": 0} for line in lines]


def watches(*right: int, of: int = 100) -> list[dict[str, float]]:
    return [{"step": 10 * place, "right": one, "questions": of, "accuracy": one / of} for place, one in enumerate(right)]


@pytest.mark.parametrize(
    ("right", "step"),
    [
        ((40, 50, 40, 40), 20),
        ((40, 50, 40, 50, 40), None),  # not in a row
        ((40, 50, 46, 46, 46), None),  # within one standard error, which is 5
        ((40, 30, 30, 60), 10),  # already below the start
        ((40, 30, 45, 60, 50, 50), 40),
        ((100, 99, 99, 99), None),
        ((), None),
    ],
)
def test_when_the_accuracy_begins_to_fall(right: tuple[int, ...], step: int | None) -> None:
    assert fall(watches(*right)) == step


def test_the_start_is_no_candidate_for_the_best() -> None:
    best = best_watch(watches(90, 20, 30, 30, 10))
    assert best is not None
    assert best["step"] == 30
    random_order = random.Random(0).sample(watches(1, 2, 3), 3)
    assert best_watch(random_order) == {"step": 20, "right": 3, "questions": 100, "accuracy": 0.03}
    assert best_watch(watches(90)) is None
