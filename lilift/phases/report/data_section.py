"""The data section of the report: rows read and kept, coverage of the lexicons, and rows that are too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilift.data.languages import languages
from lilift.data.losses import LOUD
from lilift.phases.report.report_files import RunFiles

_TOO_LONG = {
    "dropped_source": "source text too long",
    "dropped_sequence": "whole sequence too long",
    "truncated_source": "source text cut",
    "truncated_response": "response cut",
}

_NOTHING = "–"
_RAISE = " (more than 5%: set encoder.max_tokens or data.max_tokens higher)"


@dataclass(frozen=True)
class LexiconRow:
    """One language's lexicon. `coverage` is the share of the training text's words that it can translate."""

    code: str
    name: str
    entries: int | None
    pairs: int | None
    coverage: float | None
    dropped: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class StageRows:
    """Rows read and kept in one stage, and the lengths of the longest ones, in tokens."""

    title: str
    read: int | None
    kept: int | None
    too_long: str
    longest_source: int | None
    longest_sequence: int | None


@dataclass(frozen=True)
class DataSection:
    """The content of the data section. `read` is None if there is no data report."""

    source: str
    columns: str
    read: int | None
    kept: int | None
    dropped: str
    lexicons: tuple[LexiconRow, ...]
    stages: tuple[StageRows, ...]
    warnings: tuple[str, ...]


def data_section(files: RunFiles, titles: Mapping[str, str]) -> DataSection:
    """Read `data/report.json` and each stage's `rows.json`, if they exist.

    Args:
        files: the files of the run.
        titles: titles of the stages, by folder.
    """
    report = files.mapping("data/report.json")
    instructions = report.get("instructions", {})
    columns = ", ".join(f"{role} from {name}" for role, name in instructions.get("columns", {}).items() if role != name)
    lexicons = tuple(_lexicon(code, found) for code, found in report.get("lexicons", {}).items())
    stages = tuple(_stage(title, rows) for folder, title in titles.items() if (rows := files.mapping(f"{folder}/rows.json")))
    return DataSection(
        str(instructions.get("source", "")),
        columns,
        instructions.get("read"),
        instructions.get("kept"),
        _reasons(instructions.get("dropped", {})),
        lexicons,
        stages,
        tuple(str(line).removeprefix("warning: ") for line in report.get("warnings", ())),
    )


def _lexicon(code: str, found: Mapping[str, Any]) -> LexiconRow:
    known = languages().get(code)
    name = known.name if known else code
    dropped = _reasons(found.get("dropped", {}))
    warnings = tuple(found.get("warnings", ()))
    return LexiconRow(code, name, found.get("entries"), found.get("pairs"), found.get("coverage"), dropped, warnings)


def _stage(title: str, rows: Mapping[str, Any]) -> StageRows:
    too_long = _reasons({reason: rows.get(key, 0) for key, reason in _TOO_LONG.items()})
    shares = rows.get("unreadable", {})
    lost = sum(rows.get(key, 0) for key in _TOO_LONG)
    notes = [] if too_long == _NOTHING else [too_long + (_RAISE if lost > LOUD * rows.get("read", 0) else "")]
    notes += [f"the encoder reads {share:.1%} of {script} script as <unk>" for script, share in shares.items()]
    return StageRows(
        title,
        rows.get("read"),
        rows.get("kept"),
        ", ".join(notes) or _NOTHING,
        rows.get("longest_source"),
        rows.get("longest_sequence"),
    )


def _reasons(counts: Mapping[str, int]) -> str:
    """Reasons with their counts, the most frequent first; a dash if all counts are zero."""
    happened = sorted(((count, reason) for reason, count in counts.items() if count), key=lambda item: (-item[0], item[1]))
    return ", ".join(f"{reason}: {count:,}" for count, reason in happened) or _NOTHING
