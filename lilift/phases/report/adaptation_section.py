"""The part of the report on the adaptation of the encoder: what it read, and the loss on texts kept back."""

from __future__ import annotations

from dataclasses import dataclass

from lilift.data.languages import languages
from lilift.phases.report.report_files import RunFiles


@dataclass(frozen=True)
class AdaptedLanguage:
    """One language of an adaptation: its texts, and the mean loss in nats before and after; None if none was kept back."""

    name: str
    texts: int
    unseen: int
    before: float | None
    after: float | None


def adaptation_section(files: RunFiles) -> list[AdaptedLanguage]:
    """A row for each language; empty if the run has adapted no encoder yet."""
    found = files.mapping("adapt/adaptation.json")
    known = languages()
    return [
        AdaptedLanguage(
            known[code].name if code in known else code,
            count,
            found.get("unseen", {}).get(code, 0),
            found.get("before", {}).get(code),
            found.get("after", {}).get(code),
        )
        for code, count in found.get("texts", {}).items()
    ]
