"""The rule of every download, against a server on this machine: whole, resumed, verified, and every failure one line."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lilift.data import downloads
from lilift.data.downloads import WebFile, download
from lilift.recipe.errors import DataError, EnvironmentUnfit
from tests.data.file_server import Server, serving

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"water\tbishaan\n" * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Serving = tuple[type[Server], WebFile]


@pytest.fixture
def server() -> Iterator[Serving]:
    """A server, and its file as far as anybody knows it: neither sum nor size."""
    with serving({"/en_om.tsv": CONTENT}) as (kind, address):
        yield kind, WebFile(f"{address}/en_om.tsv")


@pytest.fixture(params=[(SHA256, len(CONTENT)), (SHA256, None), ("", None)], ids=["sum-and-size", "sum", "nothing"])
def known(request: pytest.FixtureRequest, server: Serving) -> WebFile:
    """The file with what is known about it: sum and size, the sum alone, or nothing."""
    sha256, size = request.param
    return replace(server[1], sha256=sha256, size=size)


def test_a_file_comes_whole_with_its_sum_and_replaces_another(known: WebFile, tmp_path: Path) -> None:
    path = tmp_path / "new" / "en_om.tsv"
    assert not known.is_at(path)
    for _ in range(2):
        assert download(known, path) == SHA256
        assert known.is_at(path)
        assert [(found.name, found.read_bytes()) for found in path.parent.iterdir()] == [("en_om.tsv", CONTENT)]
        path.write_bytes(CONTENT[:10])  # damaged since
        assert known.is_at(path) == (known.sha256 == "")
    path.write_bytes(b"")
    assert not known.is_at(path)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_a_download_that_breaks_off_continues_if_its_sum_is_known(
    server: Serving, tmp_path: Path, ranges: bool, told: bool
) -> None:
    kind, file = server
    kind.most, kind.ranges, kind.told = 1000, ranges, told
    file = replace(file, sha256=SHA256, size=len(CONTENT))
    path = tmp_path / "en_om.tsv"
    with pytest.raises(EnvironmentUnfit, match=r"broke off after 1,000 of 5,600 bytes; run the command again") as caught:
        download(file, path)
    assert "\n" not in caught.value.line()
    assert [found.name for found in tmp_path.iterdir()] == ["en_om.tsv.partial"]
    kind.most = None
    download(file, path)
    assert kind.asked == [None, "bytes=1000-"]
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("en_om.tsv", CONTENT)]


def test_without_a_sum_the_two_halves_of_a_file_never_come_from_two_versions(server: Serving, tmp_path: Path) -> None:
    kind, file = server
    kind.most = 1000
    with pytest.raises(EnvironmentUnfit, match="run the command again to start again"):
        download(file, tmp_path / "en_om.tsv")
    kind.most = None
    kind.files["/en_om.tsv"] = CONTENT.replace(b"water", b"WATER")
    download(file, tmp_path / "en_om.tsv")
    assert (tmp_path / "en_om.tsv").read_bytes() == kind.files["/en_om.tsv"]


def test_a_partial_file_that_is_no_part_of_the_file_is_begun_again(known: WebFile, tmp_path: Path) -> None:
    for before in (CONTENT, CONTENT + b"more"):
        (tmp_path / "en_om.tsv.partial").write_bytes(before)
        download(known, tmp_path / "en_om.tsv")
        assert (tmp_path / "en_om.tsv").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT.replace(b"w", b"W"), CONTENT[:-1], b""])
def test_another_file_than_the_published_one_leaves_nothing(server: Serving, tmp_path: Path, content: bytes) -> None:
    kind, file = server
    kind.files["/en_om.tsv"] = content
    for size in (None, len(CONTENT)):
        with pytest.raises(
            DataError, match=r"is not the published one that lilift knows \(its SHA-256 is [0-9a-f]{16}…"
        ) as caught:
            download(replace(file, sha256=SHA256, size=size), tmp_path / "en_om.tsv")
        assert "\n" not in caught.value.line()
        assert not list(tmp_path.iterdir())


def test_a_file_without_a_sum_is_not_accepted_empty(server: Serving, tmp_path: Path) -> None:
    kind, file = server
    kind.files["/en_om.tsv"] = b""
    with pytest.raises(DataError, match="sent an empty file"):
        download(file, tmp_path / "en_om.tsv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("told", [True, False])
def test_a_file_longer_than_its_limit_is_refused_with_the_limit_and_leaves_nothing(
    server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    kind, file = server
    kind.files["/en_om.tsv"] = CONTENT + b"\n"
    kind.told = told
    with pytest.raises(DataError, match="sends more than the 5,600 bytes of the published file"):
        download(replace(file, sha256=SHA256, size=len(CONTENT)), tmp_path / "en_om.tsv")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(downloads, "MOST_BYTES", len(CONTENT))
    monkeypatch.setattr(downloads, "_BLOCK", 64)
    for sha256 in ("", SHA256):
        with pytest.raises(DataError, match=r"sends more than 0 MB, the most that lilift downloads"):
            download(replace(file, sha256=sha256), tmp_path / "en_om.tsv")
        assert not list(tmp_path.iterdir())
    kind.files["/en_om.tsv"] = CONTENT
    assert download(file, tmp_path / "en_om.tsv") == SHA256


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/en_om.tsv", "data:,a", "http://[", "/en_om.tsv"])
def test_a_redirection_away_from_the_web_or_in_a_circle_is_one_line(
    known: WebFile, server: Serving, tmp_path: Path, address: str
) -> None:
    kind, _ = server
    kind.moved["/en_om.tsv"] = address
    with pytest.raises((DataError, EnvironmentUnfit), match=r"redirect|Redirect|Invalid IPv6") as refused:
        download(known, tmp_path / "en_om.tsv")
    assert "\n" not in refused.value.line()
    assert not list(tmp_path.iterdir())


def test_a_redirection_to_another_web_address_is_followed(known: WebFile, server: Serving, tmp_path: Path) -> None:
    kind, _ = server
    kind.moved["/en_om.tsv"] = known.address.replace("en_om", "moved")
    kind.files["/moved.tsv"] = CONTENT
    assert download(known, tmp_path / "en_om.tsv") == SHA256


def test_an_encrypted_line_is_not_left_for_an_open_one() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(downloads._RedirectedAwayError, match="http://example"):
        downloads._WebOnly().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_missing_file_and_a_server_out_of_reach_are_one_line_each(known: WebFile, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"en_xx\.tsv answers 404") as missing:
        download(replace(known, address=known.address.replace("om", "xx")), tmp_path / "en_om.tsv")
    nowhere = replace(known, address="http://127.0.0.1:9/en_om.tsv")
    with pytest.raises(EnvironmentUnfit, match=r"cannot reach 127\.0\.0\.1:9 .*; connect .* or download http") as away:
        download(nowhere, tmp_path / "en_om.tsv")
    assert "\n" not in missing.value.line() + away.value.line()
    assert not list(tmp_path.iterdir())


def test_no_other_module_opens_web_addresses() -> None:
    """Models and data sets come through huggingface_hub and datasets; every other download follows the one rule."""
    clients = r"urllib\.request|urllib import request|http\.client|requests|httpx|aiohttp|ftplib|urllib3"
    client = re.compile(rf"^\s*(import|from) ({clients})\b", re.MULTILINE)
    found = [path for path in (ROOT / "lilift").rglob("*.py") if client.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "lilift" / "data" / "downloads.py"]
