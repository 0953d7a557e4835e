"""Copies each line of a stage's metrics to another program, once, and never at the cost of the training.

`metrics.jsonl` and `during.jsonl` in the run folder stay the record of a stage. A tracker remembers in `tracked.json` how far
it has copied them, so that a resumed stage continues the same curves without repeating a step. If the other program fails,
lilift prints one line and trains on without it. The next `--resume` copies what is missing.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from lilift.recipe.storage import JsonLines, write_json

TRACKED = "tracked.json"
_FIGURES = ("loss", "learning_rate", "grad_norm", "epoch", "tokens", "tokens_per_second", "memory_mib")


class Sink(Protocol):
    """A program that draws curves. Its methods may raise anything."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Take the figures of a step. Different files may come to the same step one after another."""

    def close(self) -> None:
        """Keep everything, and end."""


OpenSink = Callable[[str, bool], Sink]
"""Opens a sink from the name of these curves, which no other training has, and whether nothing has been copied to them yet."""


class Tracker:
    """Copies the lines of a stage to a sink.

    Args:
        name: of the program, for the warning.
        open_sink: opens the sink when the first line is due.
        folder: the stage's folder; `tracked.json` is kept there.
        note: prints a warning.
    """

    def __init__(self, name: str, open_sink: OpenSink, folder: Path, note: Callable[[str], None]) -> None:
        self._name, self._open_sink, self._kept, self._note = name, open_sink, folder / TRACKED, note
        self._sink: Sink | None = None
        self._failed = False
        self._copied: dict[str, Any] = {}

    def lines(self, path: Path) -> JsonLines:
        """A file of the stage whose lines are copied, too."""
        return _TrackedLines(path, self)

    def begin(self) -> None:
        """Open the sink, unless it is open or has failed."""
        if self._sink is None and not self._failed:
            self._copied = self._read()
            with self._guarded():
                self._sink = self._open_sink(self._copied["id"], len(self._copied) == 1)

    def copy(self, kind: str, line: Mapping[str, Any]) -> None:
        """Copy a line of a file of this kind, if it has not been copied."""
        step = int(line["step"])
        if self._sink is None or step <= self._copied.get(kind, -1):
            return
        with self._guarded():
            self._sink.log(figures_of(line), step)
            self._copied[kind] = step
        if not self._failed:
            write_json(self._kept, self._copied)

    def close(self) -> None:
        """Close the sink if it is open."""
        if self._sink is not None:
            with self._guarded():
                self._sink.close()
            self._sink = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn every error of the sink into one warning. What a sink prints must not mix with JSON on standard output."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self._sink, self._failed = None, True
            what = str(error).strip().split("\n")[0] or type(error).__name__
            self._note(
                f"  track: {self._name} failed ({what}); training continues without it, and metrics.jsonl has every figure"
            )

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            return {"id": str(kept.pop("id")), **{str(kind): int(step) for kind, step in kept.items()}}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {"id": uuid4().hex[:8]}  # without a record, these are new curves


class _TrackedLines(JsonLines):
    """A file of lines that go to a tracker, too."""

    def __init__(self, path: Path, tracker: Tracker) -> None:
        super().__init__(path)
        self._tracker = tracker

    def append(self, *records: Mapping[str, Any]) -> None:
        super().append(*records)
        self._copy(records)

    def rewrite(self, records: Iterable[Mapping[str, Any]]) -> None:
        kept = list(records)
        super().rewrite(kept)
        self._tracker.begin()
        self._copy(kept)

    def _copy(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            self._tracker.copy(self.path.stem, record)


def figures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """What a line of `metrics.jsonl` or `during.jsonl` says, as names and numbers. Texts stay in the run folder."""
    found = {name: float(line[name]) for name in _FIGURES if name in line}
    if "accuracy" in line:
        found["foreign_accuracy"] = float(line["accuracy"])
        shares = {code: counts["right"] / counts["questions"] for code, counts in line["languages"].items()}
        found |= {f"foreign_accuracy/{code}": share for code, share in shares.items()}
    return found
