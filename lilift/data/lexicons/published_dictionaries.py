"""Downloads a publisher's dictionary, and remembers the sum of one whose publisher gives none.

    DIR/muse/en-sw.txt      as published
    DIR/checksums.json      of files whose publisher gives no sum: what the first download had

`lilift.data.downloads` holds the rule for every download.
"""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

from lilift.data.downloads import WebFile, download
from lilift.data.lexicons.publishers import Download, Publisher
from lilift.recipe import storage
from lilift.recipe.errors import DataError, EnvironmentUnfit

CHECKSUMS = "checksums.json"


def fetch(publisher: Publisher, dictionary: Download, folder: Path) -> Path:
    """Download a dictionary unless it is there and complete.

    Args:
        publisher: whose.
        dictionary: which.
        folder: where downloads are kept.

    Returns:
        The file's path.

    Raises:
        DataError: lilift cannot reach the server, or the server refuses, breaks off, or sends something else than expected, as
            `download` says.
        StorageError: the file cannot be written.
    """
    name = f"{publisher.name}/{dictionary.file}"
    path = folder / publisher.name / dictionary.file
    expected = dictionary.sha256 or _recorded(folder).get(name, "")
    file = WebFile(publisher.files + urllib.parse.quote(dictionary.file), expected)
    if file.is_at(path):
        return path
    try:
        digest = download(file, path)
    except EnvironmentUnfit as error:  # whatever the reason, the lexicon cannot be made: one exit code
        raise DataError(error.what, where=error.where, remedy=error.remedy) from None
    if not dictionary.sha256:
        _record(folder, name, digest)
    return path


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise DataError("is damaged: not JSON", where=path, remedy="delete it; sums are then recorded anew") from None
    return found


def _record(folder: Path, name: str, digest: str) -> None:
    storage.write_json(folder / CHECKSUMS, dict(sorted((_recorded(folder) | {name: digest}).items())))
