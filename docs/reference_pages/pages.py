"""The generated pages by file name, and the Markdown that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

GENERATED = Path(__file__).resolve().parents[1] / "reference"


def generated_pages() -> dict[str, str]:
    """The text of each generated page, by its file name in `docs/reference`."""
    from docs.reference_pages.commands import commands_page
    from docs.reference_pages.exit_codes import exit_codes_page
    from docs.reference_pages.recipe_keys import recipe_page
    from docs.reference_pages.shipped_files import shipped_files_page

    pages: dict[str, Callable[[], str]] = {
        "recipe.md": recipe_page,
        "commands.md": commands_page,
        "exit_codes.md": exit_codes_page,
        "shipped_files.md": shipped_files_page,
    }
    return {name: page() for name, page in pages.items()}


def origin(source: str) -> str:
    """The comment on top of a page that keeps people from editing it by hand."""
    return f"<!-- Made from {source} by `python -m docs.reference_pages`. Edit that file, not this page. -->"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def anchor(heading: str) -> str:
    """What a link to a heading ends with, on the built site as on GitHub: `data.max_tokens` → `datamax_tokens`."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "_- ")
    return kept.strip().replace(" ", "-")


def plain(text: str) -> str:
    """A sentence of the program's own help as Markdown: what would be markup outside of `code` is escaped."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        for letter in "*<":
            parts[index] = parts[index].replace(letter, f"\\{letter}")
    return "`".join(parts)


def listed(words: Sequence[str], last: str = "or") -> str:
    """`a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
