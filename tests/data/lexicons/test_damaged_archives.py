"""A damaged zip archive in place of a dictionary is one line, wherever the damage is."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

from lilift.data.lexicons.dictionary_files import read_dictionary
from lilift.recipe.errors import DataError


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("panlex/swadesh207/gaz-000.txt", "\n".join(f"word{number}" for number in range(207)))
    return buffer.getvalue()


def test_damage_anywhere_in_an_archive_is_one_line(tmp_path: Path) -> None:
    whole, path, rng = archive(), tmp_path / "panlex_swadesh.zip", random.Random(0)
    path.write_bytes(whole)
    assert len(list(read_dictionary(path, "om").pairs)) == 207
    refused = 0
    for number in range(400):
        content = bytearray(whole)
        content[number * len(whole) // 400] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(len(content))] if number % 10 == 0 else content)
        try:
            list(read_dictionary(path, "om").pairs)
        except DataError as error:
            refused += str(path) in error.line()
    assert refused > 250
