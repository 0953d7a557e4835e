"""Downloads from a local server that serves real dictionary lines: whole, resumed, verified, and every failure one line."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.data import downloads
from lilift.data.downloads import CHECKSUMS, fetch
from lilift.data.languages import languages
from lilift.data.lexicons.publishers import PUBLISHERS, Download, Publisher, download_for, sources_for
from lilift.data.world import lexicon_path
from lilift.recipe.errors import DataError

CONTENT = lexicon_path("om").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; breaks off after `most` bytes; knows ranges unless told otherwise."""

    files: dict[str, bytes]
    most: int | None
    ranges: bool
    asked: list[str | None]
    moved: dict[str, str]
    told = True

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(self.headers.get("Range"))
        if self.path in kind.moved:
            self.send_response(302)
            self.send_header("Location", kind.moved[self.path])
            self.end_headers()
            return
        content = kind.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range") if kind.ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if kind.told:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: kind.most])

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[tuple[type[Server], Publisher]]:
    kind = type(
        "Kind", (Server,), {"files": {"/files/en_om.tsv": CONTENT}, "most": None, "ranges": True, "asked": [], "moved": {}}
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{running.server_address[1]}/files/"
        try:
            yield kind, replace(PUBLISHERS["gatitos"], files=address)
        finally:
            running.shutdown()
            thread.join()


KNOWN = Download("gatitos", "en_om.tsv", SHA256)
UNKNOWN = Download("gatitos", "en_om.tsv", "")


def test_a_file_comes_whole_and_only_once(server, tmp_path: Path) -> None:
    kind, publisher = server
    path = fetch(publisher, KNOWN, tmp_path)
    assert path == tmp_path / "gatitos" / "en_om.tsv"
    assert path.read_bytes() == CONTENT
    assert fetch(publisher, KNOWN, tmp_path) == path
    assert kind.asked == [None]
    path.write_bytes(CONTENT[:10])  # damaged since
    assert fetch(publisher, KNOWN, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on_where_it_was(server, tmp_path: Path, ranges: bool) -> None:
    kind, publisher = server
    kind.most, kind.ranges = 1000, ranges
    with pytest.raises(DataError, match=r"broke off after 1,000 bytes; run the command again") as caught:
        fetch(publisher, KNOWN, tmp_path)
    assert "\n" not in caught.value.line()
    assert not (tmp_path / "gatitos" / "en_om.tsv").exists()
    kind.most = None
    assert fetch(publisher, KNOWN, tmp_path).read_bytes() == CONTENT
    assert kind.asked == [None, "bytes=1000-"]
    assert [path.name for path in (tmp_path / "gatitos").iterdir()] == ["en_om.tsv"]


def test_a_partial_file_that_is_no_part_of_the_file_is_begun_anew(server, tmp_path: Path) -> None:
    _, publisher = server
    (tmp_path / "gatitos").mkdir()
    (tmp_path / "gatitos" / "en_om.tsv.part").write_bytes(CONTENT + b"more")
    assert fetch(publisher, KNOWN, tmp_path).read_bytes() == CONTENT


def test_a_changed_file_is_refused_and_not_kept(server, tmp_path: Path) -> None:
    kind, publisher = server
    kind.files["/files/en_om.tsv"] = CONTENT + b"evil\tword\n"
    with pytest.raises(DataError, match="is not the one that lilift knows"):
        fetch(publisher, KNOWN, tmp_path)
    assert not list((tmp_path / "gatitos").iterdir())


def test_where_the_publisher_gives_no_sum_the_first_download_decides(server, tmp_path: Path) -> None:
    kind, publisher = server
    path = fetch(publisher, UNKNOWN, tmp_path)
    assert SHA256 in (tmp_path / CHECKSUMS).read_text(encoding="utf-8")
    path.unlink()
    kind.files["/files/en_om.tsv"] = CONTENT + b"changed\tlater\n"
    with pytest.raises(DataError, match="is not the one that lilift knows"):
        fetch(publisher, UNKNOWN, tmp_path)
    (tmp_path / CHECKSUMS).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"checksums\.json: is damaged"):
        fetch(publisher, UNKNOWN, tmp_path)


def test_a_missing_file_and_a_server_out_of_reach_are_one_line_each(server, tmp_path: Path) -> None:
    _, publisher = server
    with pytest.raises(DataError, match=r"files/en_xx\.tsv answers 404") as caught:
        fetch(publisher, Download("gatitos", "en_xx.tsv", ""), tmp_path)
    assert "\n" not in caught.value.line()
    nowhere = replace(publisher, files="http://127.0.0.1:9/files/")
    with pytest.raises(DataError, match=r"cannot reach 127\.0\.0\.1:9 .*when offline, download http") as caught:
        fetch(nowhere, KNOWN, tmp_path)
    assert "\n" not in caught.value.line()
    assert caught.value.exit_code == 3


def test_an_endless_file_is_refused_with_the_limit_and_leaves_nothing(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, publisher = server
    monkeypatch.setattr(downloads, "MOST_BYTES", len(CONTENT))
    assert fetch(publisher, UNKNOWN, tmp_path / "whole").read_bytes() == CONTENT
    kind.files["/files/en_om.tsv"] = CONTENT + b"\n"
    monkeypatch.setattr(downloads, "_BLOCK", 64)
    for told in (True, False):
        kind.told = told
        with pytest.raises(DataError, match=r"sends more than 0 MB, the most that lilift downloads"):
            fetch(publisher, UNKNOWN, tmp_path)
        assert not list((tmp_path / "gatitos").iterdir())


def test_an_empty_file_is_refused_and_an_empty_one_on_the_disk_is_fetched_again(server, tmp_path: Path) -> None:
    kind, publisher = server
    kind.files["/files/en_om.tsv"] = b""
    with pytest.raises(DataError, match="sent an empty file"):
        fetch(publisher, UNKNOWN, tmp_path)
    assert not list((tmp_path / "gatitos").iterdir())
    assert not (tmp_path / CHECKSUMS).exists()
    kind.files["/files/en_om.tsv"] = CONTENT
    (tmp_path / "gatitos" / "en_om.tsv").touch()
    assert fetch(publisher, UNKNOWN, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/en_om.tsv", "data:,a"])
def test_a_redirection_away_from_the_web_is_not_followed(server, tmp_path: Path, address: str) -> None:
    kind, publisher = server
    kind.moved["/files/en_om.tsv"] = address
    with pytest.raises(DataError, match=r"redirect|Redirect") as refused:
        fetch(publisher, UNKNOWN, tmp_path)
    assert "\n" not in refused.value.line()
    assert not list((tmp_path / "gatitos").iterdir())
    kind.moved["/files/en_om.tsv"] = publisher.files + "moved.tsv"
    kind.files["/files/moved.tsv"] = CONTENT
    assert fetch(publisher, UNKNOWN, tmp_path).read_bytes() == CONTENT


def test_an_encrypted_line_is_not_left_for_an_open_one() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(urllib.error.URLError, match="redirects to http://example"):
        downloads._WebOnly().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_every_listed_file_belongs_to_a_language_and_pinned_ones_have_sums() -> None:
    for code in languages():
        for source in sources_for(code):
            download = download_for(source, code)
            assert download is not None
            assert (len(download.sha256) == 64) == (source != "muse")
    panlex = download_for("panlex", "sw")
    assert panlex is not None
    assert (panlex.file, len(panlex.sha256)) == ("panlex_swadesh.zip", 64)
    assert download_for("muse", "sw") is None
    assert all(sources_for(known.code) for known in languages().values() if known.tier and known.code != "en")


@pytest.mark.parametrize(
    ("source", "code", "file"),
    [
        ("wiktionary", "sw", "lexicon_wechsel_wiktionary/swahili.txt.gz"),
        ("wiktionary", "lb", "lexicon_wechsel_wiktionary/luxembourgish.txt.gz"),
        ("afromt", "sw", "lexicon_afromt/en-sw.txt.gz"),
        ("gatitos", "hi", "lexicon_gatitos/en_hi.tsv.gz"),
    ],
)
def test_the_sums_are_those_of_the_publishers_files(shared_data: Path, source: str, code: str, file: str) -> None:
    download = download_for(source, code)
    assert download is not None
    assert hashlib.sha256(gzip.decompress((shared_data / file).read_bytes())).hexdigest() == download.sha256


@pytest.mark.parametrize("name", PUBLISHERS)
def test_publishers_are_asked_over_an_encrypted_line(name: str) -> None:
    assert PUBLISHERS[name].files.startswith("https://")
    assert PUBLISHERS[name].files.endswith("/")
