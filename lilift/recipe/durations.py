"""Times in words."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """Seconds as a text such as ``12 s``, ``5 min 07 s`` or ``3 h 40 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
