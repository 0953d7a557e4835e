"""Downloads from a local server that serves real dictionary lines: whole, resumed, verified, and every failure one line."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

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

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(self.headers.get("Range"))
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
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: kind.most])

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[tuple[type[Server], Publisher]]:
    kind = type("Kind", (Server,), {"files": {"/files/en_om.tsv": CONTENT}, "most": None, "ranges": True, "asked": []})
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
