"""The files of a run folder, read for a report that has to survive whatever state they are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lilift.evaluate.evaluator import SCORES, read_scores
from lilift.evaluate.scores import SystemScores
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import JsonLines, read_json


class RunFiles:
    """Reads what is there; what is damaged becomes a note in the report instead of an error."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.notes: list[str] = []

    def mapping(self, name: str) -> dict[str, Any]:
        path = self._run / name
        if not path.exists():
            return {}
        try:
            content = read_json(path)
        except RunFolderError as error:
            self.notes.append(f"{name} {error.what}")
            return {}
        return content if isinstance(content, dict) else {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        try:
            return JsonLines(self._run / name).read()
        except RunFolderError as error:
            self.notes.append(f"{name} {error.what}")
            return []

    def scores(self) -> list[SystemScores]:
        try:
            return read_scores(self._run / "evaluate" / SCORES)
        except RunFolderError as error:
            self.notes.append(f"evaluate/{SCORES} {error.what}")
            return []

    def text(self, name: str) -> str:
        path = self._run / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def recipe(self) -> dict[str, Any]:
        try:
            content = yaml.safe_load(self.text("recipe.yaml"))
        except yaml.YAMLError:
            self.notes.append("recipe.yaml is damaged: not YAML")
            return {}
        return content if isinstance(content, dict) else {}
