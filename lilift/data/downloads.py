"""Publishers' files, fetched: whole or not at all, resumed where they broke off, checked against their SHA-256 and length.

    DIR/muse/en-sw.txt      as published
    DIR/checksums.json      of files whose publisher gives no sum: what the first download had

Python's own HTTP client does it: libraries that verify sums (pooch) do not resume, and those that resume know one host.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lilift import __version__
from lilift.data.lexicons.publishers import Download, Publisher
from lilift.recipe import storage
from lilift.recipe.errors import DataError

CHECKSUMS = "checksums.json"
TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as out of reach."""
MOST_BYTES = 256 * 2**20
"""The longest file that lilift downloads, far above the few MB of the dictionaries; the publishers name no sizes."""
_BLOCK = 1 << 16


def fetch(publisher: Publisher, download: Download, folder: Path) -> Path:
    """Download a file unless it is there and whole.

    Args:
        publisher: whose.
        download: which.
        folder: where downloads are kept.

    Returns:
        The file's path.

    Raises:
        DataError: the server cannot be reached, refuses, breaks off, or sends something else than expected: another file, an
            empty one, a longer one than `MOST_BYTES`, or a redirection to an address that is not on the web.
        StorageError: the file cannot be written.
    """
    path = folder / publisher.name / download.file
    expected = download.sha256 or _recorded(folder).get(f"{publisher.name}/{download.file}", "")
    if path.is_file() and path.stat().st_size and (not expected or storage.sha256_of(path) == expected):
        return path
    address = publisher.files + urllib.parse.quote(download.file)
    partial = path.with_name(f"{path.name}.part")
    with storage.storage_errors(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        _download(address, partial, path)
        if not partial.stat().st_size:
            partial.unlink()
            raise DataError(f"{address} sent an empty file", where=path, remedy="try later, or look at the publisher's page")
        digest = storage.sha256_of(partial)
        if expected and digest != expected:
            partial.unlink()
            raise DataError(
                f"the file at {address} is not the one that lilift knows (SHA-256 {digest[:16]}… instead of {expected[:16]}…)",
                where=path,
                remedy="fetch again; if it stays so, the publisher has changed it: look at it, and import it by hand",
            )
        partial.replace(path)
    if not download.sha256:
        _record(folder, f"{publisher.name}/{download.file}", digest)
    return path


def _download(address: str, partial: Path, path: Path) -> None:
    """Append what is missing of `partial`, or start anew where the server does not resume."""
    try:
        with _opened(address, partial) as answer:
            resumed = answer.status == http.client.PARTIAL_CONTENT
            with partial.open("ab" if resumed else "wb") as file:
                _require_length(file.tell() + (answer.length or 0), address, partial, path)
                while block := answer.read(_BLOCK):
                    _require_length(file.tell() + len(block), address, partial, path)
                    file.write(block)
            promised = answer.length
        if promised:
            raise http.client.IncompleteRead(b"", promised)
    except urllib.error.HTTPError as error:
        raise DataError(
            f"{address} answers {error.code} {error.reason}", where=path, remedy="try later, or look at the publisher's page"
        ) from None
    except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
        kept = partial.stat().st_size if partial.is_file() else 0
        if kept:
            raise DataError(
                f"the download of {address} broke off after {kept:,} bytes", where=path, remedy="run the command again to go on"
            ) from None
        host = urllib.parse.urlsplit(address).netloc
        reason = getattr(error, "reason", error)
        raise DataError(
            f"cannot reach {host} ({reason})",
            where=path,
            remedy=f"when offline, download {address} elsewhere and save it as that file",
        ) from None


def _require_length(length: int, address: str, partial: Path, path: Path) -> None:
    if length > MOST_BYTES:
        partial.unlink(missing_ok=True)
        raise DataError(
            f"{address} sends more than {MOST_BYTES / 1e6:,.0f} MB, the most that lilift downloads",
            where=path,
            remedy="look at the file on the publisher's page, and save it as that file by hand",
        )


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https addresses, but not from https to http, where anybody may change the file."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise urllib.error.URLError(f"it redirects to {newurl[:100]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_open = urllib.request.build_opener(_WebOnly).open


@contextlib.contextmanager
def _opened(address: str, partial: Path) -> Iterator[http.client.HTTPResponse]:
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"User-Agent": f"lilift/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = _open(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        partial.unlink()  # longer than the file is now: begin anew
        answer = _open(urllib.request.Request(address), timeout=TIMEOUT)
    with answer:
        yield answer


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
