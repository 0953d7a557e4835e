"""Writes a table that a script generates, or compares it with the committed one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

HEAD_LINES = 2  # the line about the origin of the table, and the names of its columns


def write_or_check(description: str, table: Path, rows: Callable[[], Iterable[str]]) -> int:
    """Run the command line of a script that generates a table.

    Args:
        description: what the script does, for its help.
        table: the committed file.
        rows: gives every line of the file, the head included.

    Returns:
        The exit code: 1 if `--check` finds that the committed file differs.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with the committed table instead of writing it")
    check = parser.parse_args().check
    text = "".join(f"{row}\n" for row in rows())
    if check:
        same = table.read_text(encoding="utf-8") == text
        print("the table is up to date" if same else "the table differs; run without --check")
        return 0 if same else 1
    table.write_text(text, encoding="utf-8")
    print(f"{table.name}: {text.count(chr(10)) - HEAD_LINES} rows")
    return 0
