"""Fetching a benchmark's files from a server on this machine that knows ranges, as the real one does."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lilift.evaluate.benchmarks import benchmark_fetch
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC, PublicFile, fetch, public_files
from lilift.recipe.errors import DataError, EnvironmentUnfit
from lilift.recipe.schema import BenchmarkSettings

CONTENTS = {f"mgsm_{code}.tsv": f"{code} how many?\t4\n".encode() * 250 for code in ("en", "sw")}


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def xcsqa_line(number: int) -> dict[str, object]:
    choices = [{"label": letter, "text": f"{letter} {number}"} for letter in "ABCDE"]
    return {"id": str(number), "lang": "sw", "question": {"stem": f"{number}?", "choices": choices}, "answerKey": "B"}


XNLI = "language\tgold_label\tsentence1\tsentence2\n" + "sw\tneutral\tA\tB\n" * 5010
XCSQA = "".join(json.dumps(xcsqa_line(number)) + "\n" for number in range(1000))
ARCHIVES = {
    "xnli": ("XNLI-1.0.zip", zipped({"XNLI-1.0/xnli.test.tsv": XNLI.encode(), "XNLI-1.0/README.md": b"", "__MACOSX/x": b""})),
    "xcsqa": ("xcsr_datasets.zip", zipped({member: XCSQA.encode() for member in PUBLIC["xcsqa"].members})),
    "belebele": ("Belebele.zip", zipped(dict.fromkeys(PUBLIC["belebele"].members, b"{}\n"))),
}
SIB200 = b"index_id\tcategory\ttext\n7\ttravel\tBoti\n"


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = CONTENTS | dict(ARCHIVES.values()) | {"test.tsv": SIB200}
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.breaks_after: int | None = None
        self.knows_ranges = True

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        place, name = self.path[1:].rsplit("/", 1)
        wanted = self.headers.get("Range")
        self.server.asked.append((name, wanted))
        if name in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[name])
            self.end_headers()
            return
        if not place.startswith(tuple(source.place for source in PUBLIC.values())) or name not in self.server.contents:
            self.send_error(404)
            return
        content = self.server.contents[name]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.knows_ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.breaks_after])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    def files(benchmark: str) -> list[PublicFile]:
        one = {"swh_Latn/test.tsv": SIB200} if benchmark == "sib200" else None
        contents = CONTENTS if benchmark == "mgsm" else one or dict([ARCHIVES[benchmark]])
        sizes = {name: None if benchmark == "belebele" else len(content) for name, content in contents.items()}
        return [PublicFile(name, sizes[name], hashlib.sha256(content).hexdigest()) for name, content in contents.items()]

    monkeypatch.setattr(benchmark_fetch, "public_files", files)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def bring(server: Server, folder: Path, benchmark: str = "mgsm") -> int:
    return fetch(benchmark, folder, progress=lambda _done, _total: None, host=server.host)


def test_files_are_fetched_once_and_can_be_asked(server: Server, tmp_path: Path) -> None:
    assert bring(server, tmp_path / "new") == 2
    assert bring(server, tmp_path / "new") == 0
    assert len(server.asked) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == CONTENTS
    settings = BenchmarkSettings(name="mgsm", path=str(tmp_path / "new"))
    assert len(load_benchmark(settings, "sw").questions) == 250


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_that_broke_off_is_continued(server: Server, tmp_path: Path, knows_ranges: bool) -> None:
    server.breaks_after, server.knows_ranges = 1000, knows_ranges
    with pytest.raises(
        EnvironmentUnfit, match=r"mgsm_en\.tsv broke off after 1,000 of 3,750 bytes; run the command again to continue"
    ):
        bring(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mgsm_en.tsv.partial"]
    server.breaks_after = None
    assert bring(server, tmp_path) == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENTS
    assert server.asked[1] == ("mgsm_en.tsv", "bytes=1000-")


def test_a_file_that_was_changed_on_the_disk_is_fetched_again(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    (tmp_path / "mgsm_sw.tsv").write_bytes(CONTENTS["mgsm_sw.tsv"].replace(b"4", b"5"))
    assert bring(server, tmp_path) == 1
    assert (tmp_path / "mgsm_sw.tsv").read_bytes() == CONTENTS["mgsm_sw.tsv"]


def test_another_file_than_the_published_one_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.contents["mgsm_en.tsv"] = CONTENTS["mgsm_en.tsv"].replace(b"4", b"5")
    with pytest.raises(DataError, match="is not the published one that lilift knows"):
        bring(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("benchmark", "kept"), [("xnli", "xnli.test.tsv"), ("xcsqa", "sw/dev.jsonl")])
def test_what_is_wanted_of_an_archive_is_unpacked_and_can_be_asked(
    server: Server, tmp_path: Path, benchmark: str, kept: str
) -> None:
    archive, content = ARCHIVES[benchmark]
    assert bring(server, tmp_path, benchmark) == 1
    assert (tmp_path / archive).read_bytes() == content
    assert not (tmp_path / "__MACOSX").exists()
    questions = load_benchmark(BenchmarkSettings.model_validate({"name": benchmark, "path": str(tmp_path)}), "sw").questions
    assert questions[0].gold == {"xnli": "Neutral", "xcsqa": "B"}[benchmark]
    right = (tmp_path / kept).read_bytes()
    (tmp_path / kept).write_bytes(right.replace(b"B", b"C"))
    assert bring(server, tmp_path, benchmark) == 0, "the archive is there and whole"
    assert (tmp_path / kept).read_bytes() == right, "what was changed is unpacked again"


def test_an_archive_whose_size_nobody_recorded_is_continued_too(server: Server, tmp_path: Path) -> None:
    server.breaks_after = 100
    with pytest.raises(EnvironmentUnfit, match=r"Belebele\.zip broke off after 100 bytes; run the command again"):
        bring(server, tmp_path, "belebele")
    server.breaks_after = None
    assert bring(server, tmp_path, "belebele") == 1
    assert bring(server, tmp_path, "belebele") == 0
    assert [range for _, range in server.asked] == [None, "bytes=100-"]
    assert len(list(tmp_path.glob("*.jsonl"))) == 122


def test_a_file_in_a_folder_of_its_language_is_fetched_into_one(server: Server, tmp_path: Path) -> None:
    assert bring(server, tmp_path, "sib200") == 1
    assert (tmp_path / "swh_Latn" / "test.tsv").read_bytes() == SIB200


def test_an_archive_of_other_contents_is_one_clear_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVES, "xnli", ("XNLI-1.0.zip", zipped({"other.tsv": b""})))
    server.contents["XNLI-1.0.zip"] = ARCHIVES["xnli"][1]
    with pytest.raises(DataError, match=r"XNLI-1\.0\.zip: the archive has no file XNLI-1\.0/xnli\.test\.tsv; download"):
        bring(server, tmp_path, "xnli")


def test_a_longer_file_and_a_redirection_to_a_file_of_this_machine_are_refused(server: Server, tmp_path: Path) -> None:
    server.contents["mgsm_en.tsv"] += b"more"
    with pytest.raises(DataError, match=r"sends more than the 3,750 bytes of the published file"):
        bring(server, tmp_path)
    server.moved["mgsm_en.tsv"] = (tmp_path.parent / "secret").as_uri()
    with pytest.raises(DataError, match=r"mgsm_en\.tsv answers 302 .*'file:///.* is not allowed"):
        bring(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    del server.contents["mgsm_en.tsv"]
    with pytest.raises(DataError, match=r"mgsm_en\.tsv answers 404 Not Found; try again later"):
        bring(server, tmp_path)


def test_without_a_network_the_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"mgsm_bn\.tsv: lilift cannot reach 127\.0\.0\.1:9 .*; connect to the network"):
        fetch("mgsm", tmp_path, progress=lambda _done, _total: None, host="http://127.0.0.1:9")


def test_the_shipped_list_names_every_file_and_says_that_mmwp_has_no_licence() -> None:
    polymath = {f"polymath-{level}": 18 for level in ("low", "medium", "high", "top")}
    counts = {"mmwp": 48, "mgsm": 11, "msvamp": 10, "xnli": 1, "xcsqa": 1, "belebele": 1, "sib200": 205, **polymath}
    assert {name: len(public_files(name)) for name in PUBLIC} == counts
    assert all(len(file.sha256) == 64 for name in PUBLIC for file in public_files(name))
    assert "NO LICENCE" in PUBLIC["mmwp"].licence


def test_the_shipped_sums_are_those_of_the_real_files(shared_data: Path) -> None:
    for file in public_files("mgsm"):
        assert hashlib.sha256((shared_data / "mgsm" / file.name).read_bytes()).hexdigest() == file.sha256
