"""What the report says of the data: rows read and kept, what the lexicons cover, what was too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilift.data.languages import languages
from lilift.phases.report.report_files import RunFiles

_TOO_LONG = {
    "dropped_source": "source text too long",
    "dropped_sequence": "whole sequence too long",
    "truncated_source": "source text cut",
    "truncated_response": "response cut",
}


_NOTHING = "–"


@dataclass(frozen=True)
class LexiconRow:
    """One language's lexicon; `coverage` is the share of the training text's words that it can translate, from 0 to 1."""

    code: str
    name: str
    entries: int | None
    pairs: int | None
    coverage: float | None
    dropped: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class StageRows:
    """What became of the rows of one stage, and how long the longest were, in tokens."""

    title: str
    read: int | None
    kept: int | None
    too_long: str
    longest_source: int | None
    longest_sequence: int | None


@dataclass(frozen=True)
class DataSection:
    """All that the report says of a run's data; `read` is None where there is no data report."""

    source: str
    columns: str
    read: int | None
    kept: int | None
    dropped: str
    lexicons: tuple[LexiconRow, ...]
    stages: tuple[StageRows, ...]


def data_section(files: RunFiles, titles: Mapping[str, str]) -> DataSection:
    """Read `data/report.json` and each stage's `rows.json`, as far as they are there.

    Args:
        files: of the run.
        titles: of the stages, by folder.
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
    told = [] if too_long == _NOTHING else [too_long]
    told += [f"the encoder reads {share:.1%} of {script} script as <unk>" for script, share in shares.items()]
    return StageRows(
        title,
        rows.get("read"),
        rows.get("kept"),
        ", ".join(told) or _NOTHING,
        rows.get("longest_source"),
        rows.get("longest_sequence"),
    )


def _reasons(counts: Mapping[str, int]) -> str:
    """Reasons with their counts, the commonest first; a dash where nothing happened."""
    happened = sorted(((count, reason) for reason, count in counts.items() if count), key=lambda item: (-item[0], item[1]))
    return ", ".join(f"{reason}: {count:,}" for count, reason in happened) or _NOTHING
