"""The export section of the report: how much the exported weights differ from the model of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilift.phases.report.report_files import RunFiles

_DRIFT = "export/drift.json"


@dataclass(frozen=True)
class ExportSection:
    """The content of the export section.

    Attributes:
        measured_on: the texts of the comparison.
        drift: the results by the name of the weights; see `lilift.export.drift.Drift`.
        not_measured: why there are no results; None if there are.
    """

    measured_on: str
    drift: tuple[Mapping[str, Any], ...]
    not_measured: str | None


def export_section(files: RunFiles) -> ExportSection | None:
    """The section; None if no export was compared with the run."""
    found = files.mapping(_DRIFT)
    reason = found.get("not measured")
    drift = tuple(one for one in found.get("drift", ()) if isinstance(one, dict))
    if not drift and reason is None:
        return None
    return ExportSection(str(found.get("measured on", "")), drift, reason)
