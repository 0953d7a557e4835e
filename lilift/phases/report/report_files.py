"""Reads the files of a run folder for the report, and turns damaged files into notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lilift.evaluate.evaluator import SCORES, read_scores
from lilift.evaluate.retrieval import ALIGNMENT_QUALITY, AlignmentQuality, read_alignment_quality
from lilift.evaluate.scores.response_analysis import ANALYSIS, Profiles, read_profiles
from lilift.evaluate.scores.scores import SystemScores
from lilift.recipe.errors import RunFolderError
from lilift.recipe.storage import JsonLines, read_json
from lilift.recipe.yaml_text import read_yaml


class RunFiles:
    """Reads the files that exist. A damaged file becomes a note in the report, and raises no error."""

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

    def responses(self, system: str, benchmark: str, language: str) -> list[dict[str, Any]]:
        return self.lines(f"evaluate/{system}/{benchmark}/{language}.jsonl")

    def profiles(self) -> Profiles:
        try:
            return read_profiles(self._run / "evaluate")
        except RunFolderError as error:
            self.notes.append(f"evaluate/{ANALYSIS} {error.what}")
            return {}

    def alignment_qualities(self) -> list[AlignmentQuality]:
        """Results of the evaluate phase and of `lilift eval alignment`."""
        found = []
        for name in (f"evaluate/{ALIGNMENT_QUALITY}", f"evaluations/{ALIGNMENT_QUALITY}"):
            try:
                found.append(read_alignment_quality(self._run / name))
            except RunFolderError as error:
                self.notes.append(f"{name} {error.what}")
        return [quality for quality in found if quality is not None]

    def text(self, name: str) -> str:
        path = self._run / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def recipe(self) -> dict[str, Any]:
        try:
            content, _ = read_yaml(self.text("recipe.yaml"))
        except yaml.YAMLError:
            self.notes.append("recipe.yaml is damaged: it is not YAML")
            return {}
        return content if isinstance(content, dict) else {}
