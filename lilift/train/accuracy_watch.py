"""Watches how many foreign questions a model answers right while a stage trains, and keeps the best weights.

    during.jsonl                 one line for each watch: step, right answers, questions, interval, counts by language, samples
    checkpoints/best-00000200/   the trained weights of the best watch so far, if the stage keeps the best

Watching changes nothing that training depends on: it draws no random numbers of the stage, and the order of the rows stays.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from lilift.recipe.sealed_folders import remove_folder, sealed_folder, verify_part
from lilift.recipe.storage import JsonLines
from lilift.train.checkpoint import restore_tensors
from lilift.train.randomness import unchanged_randomness
from lilift.train.watch_lines import WATCHES_BELOW, best_watch, fall, highest

_WEIGHTS = "trained.safetensors"


@dataclass(frozen=True)
class Answered:
    """How a model answered the watched questions.

    Attributes:
        languages: right answers and questions by language.
        interval: the 95% interval of the share of right answers in all languages.
        samples: a few of the answers, the same questions in every watch: `language`, `question`, `gold`, `response`,
            `extracted`, `correct`.
    """

    languages: Mapping[str, tuple[int, int]]
    interval: tuple[float, float]
    samples: Sequence[Mapping[str, Any]] = ()

    @property
    def right(self) -> int:
        return sum(right for right, _ in self.languages.values())

    @property
    def questions(self) -> int:
        return sum(questions for _, questions in self.languages.values())


@dataclass(frozen=True)
class WatchPlan:
    """What a stage watches.

    Attributes:
        answer: lets the model answer the questions.
        every: optimizer steps between two watches.
        keep_best: whether the stage ends with the weights of the best watch.
    """

    answer: Callable[[], Answered]
    every: int
    keep_best: bool

    def wants(self, step: int, total_steps: int) -> bool:
        """Whether lilift watches after this step."""
        return step % self.every == 0 or step == total_steps


class AccuracyWatch:
    """The watches of one stage.

    Args:
        plan: what to watch.
        name: the stage's name, for lines.
        folder: the stage's folder.
        file: the stage's `during.jsonl`.
        done: steps before this process; later watches in the file are dropped, because the resumed steps repeat them.
    """

    def __init__(self, plan: WatchPlan, name: str, folder: Path, file: JsonLines, *, done: int) -> None:
        self._plan, self._name, self._checkpoints = plan, name, folder / "checkpoints"
        self._file = file
        self._lines = [line for line in self._file.read() if line["step"] <= done]
        self._file.rewrite(self._lines)

    @property
    def keeps_best(self) -> bool:
        """Whether the stage ends with the weights of the best watch."""
        return self._plan.keep_best

    def is_due(self, step: int, total_steps: int) -> bool:
        """Whether lilift must watch after this step, and has not done so."""
        return self._plan.wants(step, total_steps) and all(line["step"] != step for line in self._lines)

    def look(self, step: int, trained: Mapping[str, nn.Parameter]) -> tuple[str, str | None]:
        """Watch once, and keep the weights if they are the best so far.

        Returns:
            A line about this watch, and a warning if the accuracy has begun to fall just now.
        """
        began, fell_before = time.monotonic(), fall(self._lines) is not None
        with unchanged_randomness(next(iter(trained.values())).device):
            found = self._plan.answer()
        low, high = found.interval
        line = {
            "step": step,
            "accuracy": found.right / found.questions,
            "right": found.right,
            "questions": found.questions,
            "low": low,
            "high": high,
            "languages": {code: {"right": right, "questions": count} for code, (right, count) in found.languages.items()},
            "seconds": round(time.monotonic() - began, 3),
        }
        if found.samples:
            line["samples"] = [dict(sample) for sample in found.samples]
        if self._plan.keep_best and step and best_watch([*self._lines, line]) is line:
            self._save(step, trained)
        self._file.append(line)
        self._lines.append(line)
        fell = fall(self._lines)
        return self._in_words(line), None if fell is None or fell_before else self._warning(fell)

    def forget(self, checkpoints: Collection[int]) -> None:
        """Delete the weights that are the best at none of these checkpoints."""
        bests = (best_watch([line for line in self._lines if line["step"] <= step]) for step in checkpoints)
        wanted = {self._weights(best["step"]).name for best in bests if best is not None}
        for folder in self._checkpoints.glob("best-*"):
            if re.fullmatch(r"best-\d+", folder.name) and folder.name not in wanted:
                remove_folder(folder)

    def restore_best(self, trained: Mapping[str, nn.Parameter]) -> int:
        """Give the trained parameters the weights of the best watch; returns its step.

        Raises:
            RunFolderError: the weights are damaged or missing.
        """
        best = best_watch(self._lines)
        assert best is not None  # the last step is watched
        folder = self._weights(best["step"])
        verify_part(folder, if_damaged=f"restore it from a copy, or delete {folder.parent} to train the stage again")
        restore_tensors(trained, load_file(folder / _WEIGHTS))
        return int(best["step"])

    def _save(self, step: int, trained: Mapping[str, nn.Parameter]) -> None:
        weights = {name: parameter.detach().cpu().contiguous() for name, parameter in trained.items()}
        with sealed_folder(self._weights(step), {"step": step}) as partial:
            save_file(weights, partial / _WEIGHTS)

    def _weights(self, step: int) -> Path:
        return self._checkpoints / f"best-{step:08d}"

    def _in_words(self, line: Mapping[str, Any]) -> str:
        best = best_watch(self._lines)
        beside = "" if best is None or best is line else f"; best {best['accuracy']:.0%} at step {best['step']}"
        return (
            f"  {self._name}, step {line['step']}: {line['right']} of {line['questions']} foreign questions right "
            f"({line['accuracy']:.0%}, 95% interval {line['low']:.0%} to {line['high']:.0%}){beside}"
        )

    def _warning(self, fell: int) -> str:
        before = highest([line for line in self._lines if line["step"] < fell])
        assert before is not None, "the share falls below that of an earlier watch"
        shares = " and ".join(f"{line['accuracy']:.0%}" for line in self._lines[-WATCHES_BELOW:])
        remedy = "" if self._plan.keep_best else ", set evaluate.during.keep to best"
        return (
            f"  {self._name}: the share of right foreign answers has begun to fall: {shares} since step {fell}, after "
            f"{before['accuracy']:.0%} at step {before['step']}. Train fewer steps{remedy}, or lower the learning rate"
        )
