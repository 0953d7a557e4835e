"""What is lost of the data, said loudly: a warning with the setting to change wherever more than 5% of the rows go."""

from __future__ import annotations

from collections.abc import Mapping

LOUD = 0.05
"""A larger share of rows that are left out or cut gets a warning."""

_SETTINGS = {
    "empty question": "check data.instructions.columns",
    "empty response": "check data.instructions.columns",
    "not English": "name translated texts with data.translations if training is to read them",
    "empty English": "check the files of data.translations",
    "empty translation": "check the files of data.translations",
    "no response": "add responses to the files of data.translations (rated answers without a correction have none), or set "
    "align.target to reconstruct",
    "wrong script": "check that the file is in this language; in data.translations, English comes first",
}
_QUIET = ("repeated", "marked as wrong")
"""Reasons that take nothing away that anybody wants."""


def warnings_of_rows(source: str, read: int, dropped: Mapping[str, int]) -> list[str]:
    """A warning for each reason that leaves out many rows of a source.

    Args:
        source: as the recipe names it.
        read: rows read.
        dropped: reason → rows left out.
    """
    loud = [(count, reason) for reason, count in dropped.items() if count > LOUD * read and reason not in _QUIET]
    return [
        f"warning: {count / read:.0%} of the rows of {source} are left out ({reason}); {_remedy(reason)}"
        for count, reason in sorted(loud, reverse=True)
    ]


def warnings_of_lengths(stage: str, lengths: Mapping[str, int], limits: tuple[int, int], over_length: str) -> list[str]:
    """A warning for each limit that many rows of a stage exceed.

    Args:
        stage: names the rows.
        lengths: counts of a `lilift.data.batches.tokenization.LengthReport`.
        limits: `encoder.max_tokens` and `data.max_tokens`.
        over_length: what happens to a row that is too long: `drop`, `truncate` or `error`.
    """
    fates = {"drop": "left out", "truncate": "cut", "error": "a reason to stop"}
    settings = {
        "encoder.max_tokens": ("source texts", "dropped_source", "truncated_source", "longest_source", limits[0]),
        "data.max_tokens": ("whole sequences", "dropped_sequence", "truncated_response", "longest_sequence", limits[1]),
    }
    found = []
    for setting, (part, dropped, cut, longest, limit) in settings.items():
        share = (lengths.get(dropped, 0) + lengths.get(cut, 0)) / max(1, lengths.get("read", 0))
        if share > LOUD:
            found.append(
                f"warning: {share:.0%} of the rows of {stage} are too long and {fates[over_length]}: their {part} have more "
                f"than {limit:,} tokens; set {setting} higher (the longest has {lengths.get(longest, 0):,})"
            )
    return found


def _remedy(reason: str) -> str:
    if reason.startswith("in "):
        return "set data.contaminated to keep if you do not evaluate on it"
    return _SETTINGS.get(reason, "mend the rows, or check data.instructions.columns")
