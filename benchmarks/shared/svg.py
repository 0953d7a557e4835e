"""Draw bar charts as SVG that are readable on light and dark pages, without a plotting package."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

LABELS, PLOT, VALUES, LINE, HEAD = 210, 430, 90, 24, 34  # pixels
PLAIN, ACCENT, INK = "#8a94a6", "#d9531e", "#6b7280"


def bars(title: str, values: Mapping[str, float], *, accent: str, logarithmic: bool = False) -> str:
    """Horizontal bars, the smallest value first.

    Args:
        values: by name, none negative. accent: the name whose bar stands out, with all that begin with it.
        logarithmic: lengths by the logarithm, for values of several magnitudes; values below 1 have no bar.
    """
    ordered = sorted(values.items(), key=lambda item: item[1])
    scaled = {name: math.log10(max(value, 1.0)) if logarithmic else value for name, value in ordered}
    longest = max(scaled.values(), default=0.0) or 1.0
    width, height = LABELS + PLOT + VALUES, HEAD + LINE * len(ordered) + 10
    note = " (logarithmic)" if logarithmic else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">',
        f'<text x="8" y="20" font-weight="bold">{escape(title + note)}</text>',
    ]
    for place, (name, value) in enumerate(ordered):
        top = HEAD + LINE * place
        length = PLOT * scaled[name] / longest
        colour = ACCENT if name.startswith(accent) else PLAIN
        lines += [
            f'<text x="{LABELS - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABELS}" y="{top + 2}" width="{length:.1f}" height="{LINE - 8}" fill="{colour}"/>',
            f'<text x="{LABELS + length + 6:.1f}" y="{top + 14}">{value:.4g}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
