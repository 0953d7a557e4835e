"""Publishers' dictionaries from a server on this machine, and the sums that lilift knows or remembers."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.data.languages import languages
from lilift.data.lexicons.published_dictionaries import CHECKSUMS, fetch
from lilift.data.lexicons.publishers import PUBLISHERS, Download, Publisher, download_for, sources_for
from lilift.data.world import lexicon_path
from lilift.recipe.errors import DataError
from tests.data.file_server import Server, serving

CONTENT = lexicon_path("om").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Download("gatitos", "en_om.tsv", SHA256)
UNKNOWN = Download("gatitos", "en_om.tsv", "")


@pytest.fixture
def server() -> Iterator[tuple[type[Server], Publisher]]:
    with serving({"/files/en_om.tsv": CONTENT}) as (kind, address):
        yield kind, replace(PUBLISHERS["gatitos"], files=f"{address}/files/")


def test_a_file_comes_whole_and_only_once(server, tmp_path: Path) -> None:
    kind, publisher = server
    path = fetch(publisher, KNOWN, tmp_path)
    assert path == tmp_path / "gatitos" / "en_om.tsv"
    assert path.read_bytes() == CONTENT
    assert fetch(publisher, KNOWN, tmp_path) == path
    assert kind.asked == [None]
    path.write_bytes(CONTENT[:10])  # damaged since
    assert fetch(publisher, KNOWN, tmp_path).read_bytes() == CONTENT


def test_where_the_publisher_gives_no_sum_the_first_download_decides(server, tmp_path: Path) -> None:
    kind, publisher = server
    path = fetch(publisher, UNKNOWN, tmp_path)
    assert SHA256 in (tmp_path / CHECKSUMS).read_text(encoding="utf-8")
    path.unlink()
    kind.files["/files/en_om.tsv"] = CONTENT + b"changed\tlater\n"
    with pytest.raises(DataError, match="is not the published one that lilift knows"):
        fetch(publisher, UNKNOWN, tmp_path)
    (tmp_path / CHECKSUMS).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"checksums\.json: is damaged"):
        fetch(publisher, UNKNOWN, tmp_path)


def test_a_missing_dictionary_and_a_server_out_of_reach_are_errors_of_data(server, tmp_path: Path) -> None:
    _, publisher = server
    with pytest.raises(DataError, match=r"files/en_xx\.tsv answers 404"):
        fetch(publisher, Download("gatitos", "en_xx.tsv", ""), tmp_path)
    nowhere = replace(publisher, files="http://127.0.0.1:9/files/")
    with pytest.raises(DataError, match=r"cannot reach 127\.0\.0\.1:9 .*or download http") as caught:
        fetch(nowhere, KNOWN, tmp_path)
    assert caught.value.exit_code == 3


def test_nothing_is_remembered_of_an_empty_file(server, tmp_path: Path) -> None:
    kind, publisher = server
    kind.files["/files/en_om.tsv"] = b""
    with pytest.raises(DataError, match="sent an empty file"):
        fetch(publisher, UNKNOWN, tmp_path)
    assert not (tmp_path / CHECKSUMS).exists()
    kind.files["/files/en_om.tsv"] = CONTENT
    (tmp_path / "gatitos" / "en_om.tsv").touch()
    assert fetch(publisher, UNKNOWN, tmp_path).read_bytes() == CONTENT


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
