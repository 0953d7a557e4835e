"""Downloads one file from the web by one rule: complete and checked, or not at all.

The rule, for dictionaries and benchmarks alike:

- A file has a known size, or at most `MOST_BYTES`. The message names the limit.
- A file with a known SHA-256 is kept only if the sum is right. A file without one must not be empty.
- A download that broke off continues where it was, if the sum is known. Without a sum nothing would show that the publisher
  has changed the file in between, so that such a download starts again.
- A redirection leads to http or https, and never from https to http, where anybody on the way may change the file.
- Under its own name a file is always complete: lilift writes `NAME.partial`, checks it, and renames it.

Python's own HTTP client does it: libraries that verify sums (pooch) do not resume, and those that resume know one host.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift import __version__
from lilift.recipe.errors import DataError, EnvironmentUnfit
from lilift.recipe.storage import sha256_of, storage_errors, sync_file

TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as out of reach."""
MOST_BYTES = 256 * 2**20
"""The longest file of unknown size that lilift downloads, far above the few MB of a dictionary or benchmark."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class WebFile:
    """A file on the web, and what is known about it.

    Attributes:
        address: its http or https address.
        sha256: the SHA-256 of its content in hexadecimal digits; empty if nobody recorded it.
        size: its size in bytes; None if nobody recorded it.
    """

    address: str
    sha256: str = ""
    size: int | None = None

    def is_at(self, path: Path) -> bool:
        """Whether the complete file is at a path."""
        if not path.is_file() or not path.stat().st_size or self.size not in (None, path.stat().st_size):
            return False
        return not self.sha256 or sha256_of(path) == self.sha256

    @property
    def limit(self) -> int:
        """The most bytes that lilift takes."""
        return MOST_BYTES if self.size is None else self.size


def download(file: WebFile, path: Path) -> str:
    """Download a file to a path, or continue its download.

    Args:
        file: the file.
        path: where it goes; its folder is made. A file that is there is replaced.

    Returns:
        The SHA-256 of the content, in hexadecimal digits.

    Raises:
        EnvironmentUnfit: lilift cannot reach the server, or the connection breaks.
        DataError: the server does not give the file, redirects to an address that is not on the web, or sends another file, an
            empty one, or more than `WebFile.limit` bytes.
        StorageError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    with storage_errors(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        if not file.sha256:
            partial.unlink(missing_ok=True)
        _receive(file, partial, path)
        sync_file(partial)
        if not file.sha256 and not partial.stat().st_size:
            partial.unlink()
            raise DataError(f"{file.address} sent an empty file", where=path, remedy=_LATER)
        digest = sha256_of(partial)
        if file.sha256 not in ("", digest) or file.size not in (None, partial.stat().st_size):
            partial.unlink()
            raise DataError(
                f"the file at {file.address} is not the published one that lilift knows (its SHA-256 is {digest[:16]}… instead "
                f"of {file.sha256[:16]}…)",
                where=path,
                remedy="run the command again; if the error stays, the publisher has changed the file: look at it, and "
                "download it by hand",
            )
        partial.replace(path)
    return digest


_LATER = "try again later, or download it by hand and save it as that file"


def _receive(file: WebFile, partial: Path, path: Path) -> None:
    """Append to `partial` what it lacks, or start again where the server does not resume."""
    try:
        with _opened(file, partial) as answer:
            resumed = answer.status == http.client.PARTIAL_CONTENT
            promised = answer.length
            with partial.open("ab" if resumed else "wb") as output:
                _require_length(output.tell() + (promised or 0), file, partial, path)
                while block := answer.read(_BLOCK):
                    _require_length(output.tell() + len(block), file, partial, path)
                    output.write(block)
                missing = answer.length if promised is not None else (file.size or 0) - output.tell()
        if missing and missing > 0:
            raise http.client.IncompleteRead(b"", missing)
    except urllib.error.HTTPError as error:
        raise DataError(f"{file.address} answers {error.code} {error.reason}", where=path, remedy=_LATER) from None
    except _RedirectedAwayError as error:
        raise DataError(
            f"{file.address} redirects to {error}; lilift follows http and https alone, and never https to http",
            where=path,
            remedy=_LATER,
        ) from None
    except (http.client.HTTPException, urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError, ValueError) as error:
        kept = partial.stat().st_size if partial.is_file() else 0
        if kept:
            whole = f" of {file.size:,}" if file.size else ""
            raise EnvironmentUnfit(
                f"the download of {file.address} broke off after {kept:,}{whole} bytes",
                where=path,
                remedy="run the command again to " + ("continue" if file.sha256 else "start again"),
            ) from None
        reason = getattr(error, "reason", None) or error
        raise EnvironmentUnfit(
            f"lilift cannot reach {urllib.parse.urlsplit(file.address).netloc} ({reason})",
            where=path,
            remedy=f"connect to the network, or download {file.address} elsewhere and save it as that file",
        ) from None


def _require_length(length: int, file: WebFile, partial: Path, path: Path) -> None:
    if length <= file.limit:
        return
    partial.unlink(missing_ok=True)
    if file.size is None:
        limit = f"{MOST_BYTES / 1e6:,.0f} MB, the most that lilift downloads"
    else:
        limit = f"the {file.size:,} bytes of the published file"
    raise DataError(
        f"{file.address} sends more than {limit}",
        where=path,
        remedy="look at the file on the publisher's page, and save it as that file by hand",
    )


class _RedirectedAwayError(Exception):
    """The server redirects to an address that lilift does not follow; the text is that address."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https addresses, but not from https to http, where anybody may change the file."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise _RedirectedAwayError(newurl[:100])
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_open = urllib.request.build_opener(_WebOnly).open


@contextlib.contextmanager
def _opened(file: WebFile, partial: Path) -> Iterator[http.client.HTTPResponse]:
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"User-Agent": f"lilift/{__version__}"}
    try:
        asked = headers | ({"Range": f"bytes={have}-"} if have else {})
        answer = _open(urllib.request.Request(file.address, headers=asked), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        partial.unlink()  # it is as long as the file or longer: start again
        answer = _open(urllib.request.Request(file.address, headers=headers), timeout=TIMEOUT)
    with answer:
        yield answer
