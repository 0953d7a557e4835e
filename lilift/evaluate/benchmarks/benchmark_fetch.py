"""Downloads a benchmark's files from the place where its authors published them.

`public_files.tsv` has the size and SHA-256 of every file. lilift does not download a complete file again, resumes an incomplete
one, and rejects a file with another hash. MMWP, MGSM, MSVAMP, SIB-200 and PolyMath are files in repositories, each at one
commit; their sums were computed from the files. XNLI, X-CSQA and Belebele are archives, and lilift unpacks the files that it
needs into the archive's folder. Others recorded the archives' sums: TensorFlow Datasets (url_checksums/xnli.txt) and Hugging
Face's datasets (xnli and xcsr, dataset_infos.json), which agree on XNLI, and for Belebele two public evaluation projects, which
agree. Nobody recorded the size of Belebele's archive, so an interrupted download of it starts again.

AfriMGSM and Global-MMLU-Lite are on the Hugging Face hub alone, and no sums of their files are known.
"""

from __future__ import annotations

import http
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lilift.evaluate.benchmarks.benchmark_sources import languages_of
from lilift.recipe.errors import DataError, EnvironmentUnfit
from lilift.recipe.storage import sha256_of, storage_errors, write_bytes

HOST = "https://raw.githubusercontent.com"
_PIECE = 1 << 16
_SECONDS_TO_ANSWER = 30.0


@dataclass(frozen=True)
class PublicSource:
    """The place where a benchmark is published.

    Attributes:
        place: folder of its files, in the address after `host`; for a repository its name, commit and folder.
        licence: the licence, which lilift prints before the download.
        host: the server.
        members: for archives, the members to unpack and the names of the unpacked files.
    """

    place: str
    licence: str
    host: str = HOST
    members: Mapping[str, str] = field(default_factory=dict)


PUBLIC = {
    "mmwp": PublicSource(
        "AzureStarz/AlignSFT/0d639b4d9c6be73f3f81fda6a774bc93376e6d2a/baseline_evaluation/eval_data/m_asdiv_mawps",
        "NO LICENCE is stated for MMWP, and ASDiv, where most of it comes from, is CC BY-NC 4.0: use it for your own "
        "non-commercial research and do not pass it on",
    ),
    "mgsm": PublicSource("google-research/url-nlp/452a21ad3dae5668c06ceeac21ff073e1e40f9be/mgsm", "CC-BY 4.0"),
    "msvamp": PublicSource(
        "microsoft/MathOctopus/4d385db696c420b212ccf861fcfab13c1499a576/step1_supervised_finetuning/data/msvamp", "MIT"
    ),
    "xnli": PublicSource("XNLI", "CC BY-NC 4.0", "https://dl.fbaipublicfiles.com", {"XNLI-1.0/xnli.test.tsv": "xnli.test.tsv"}),
    "xcsqa": PublicSource(
        "XCSR",
        "MIT, by its card on the Hugging Face hub",
        "https://inklab.usc.edu",
        {f"X-CSR_datasets/X-CSQA/{code}/dev.jsonl": f"{code}/dev.jsonl" for code in languages_of("xcsqa").values()},
    ),
    "belebele": PublicSource(
        "belebele",
        "CC BY-SA 4.0",
        "https://dl.fbaipublicfiles.com",
        {f"Belebele/{code}.jsonl": f"{code}.jsonl" for code in languages_of("belebele").values()},
    ),
    "sib200": PublicSource(
        "dadelani/sib-200/593cea88519930f776c1a4a1980b6a35b39dca57/data/annotated",
        "Apache 2.0; the sentences are FLORES-200's, CC BY-SA 4.0",
    ),
    **{
        f"polymath-{level}": PublicSource("QwenLM/PolyMath/fab12d62dd486c605d6da1faef4db93e9e4f22f4/data", "Apache 2.0")
        for level in ("low", "medium", "high", "top")
    },
}


@dataclass(frozen=True)
class PublicFile:
    """One file of a benchmark: its name, size in bytes (None if that is not known) and SHA-256."""

    name: str
    size: int | None
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Whether the complete file is there."""
        return path.is_file() and self.size in (None, path.stat().st_size) and sha256_of(path) == self.sha256


def public_files(benchmark: str) -> list[PublicFile]:
    """Every file of a benchmark."""
    text = (resources.files("lilift.evaluate.benchmarks") / "public_files.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return [PublicFile(name, int(size) if size else None, sha256) for owner, name, size, sha256 in rows if owner == benchmark]


def fetch(benchmark: str, folder: Path, *, progress: Callable[[int, int], None], host: str | None = None) -> int:
    """Download a benchmark's files into a folder; complete files that are there already are not downloaded again.

    Args:
        benchmark: one of `PUBLIC`.
        folder: where the files go.
        progress: called before each file and at the end, with the number of files so far and the number of all files.
        host: the server; the authors' own if left out.

    Returns:
        How many files were downloaded.

    Raises:
        EnvironmentUnfit: lilift cannot reach the host, or the connection breaks.
        DataError: the server does not have a file, or has a file with another hash.
        StorageError: the folder cannot be written.
    """
    files, source = public_files(benchmark), PUBLIC[benchmark]
    fetched = 0
    for number, file in enumerate(files):
        progress(number, len(files))
        path = folder / file.name
        if file.is_at(path):
            continue
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch_file(f"{host or source.host}/{source.place}/{file.name}", file, path)
        fetched += 1
    progress(len(files), len(files))
    if source.members:
        for file in files:
            _unpack(folder / file.name, source.members)
    return fetched


def _unpack(archive: Path, members: Mapping[str, str]) -> None:
    """Unpack some files of an archive into its folder; complete files that are there already stay as they are.

    Raises:
        DataError: the archive lacks one of them.
        StorageError: the folder cannot be written.
    """
    with zipfile.ZipFile(archive) as opened:
        for member, name in members.items():
            try:
                info = opened.getinfo(member)
            except KeyError:
                raise DataError(
                    f"the archive has no file {member}",
                    where=archive,
                    remedy="download the files by hand and give their folder with --path",
                ) from None
            path = archive.parent / name
            if path.is_file() and path.stat().st_size == info.file_size and zlib.crc32(path.read_bytes()) == info.CRC:
                continue
            write_bytes(path, opened.read(info))


def _fetch_file(address: str, file: PublicFile, path: Path) -> None:
    """Download a file, or resume its download, under a temporary name; rename it after its size and hash are checked."""
    partial = path.with_name(path.name + ".partial")
    if partial.exists() and (file.size is None or partial.stat().st_size >= file.size):
        partial.unlink()
    start = partial.stat().st_size if partial.exists() else 0
    with _open(address, start) as answer:
        announced = answer.headers.get("Content-Length", "")
        whole = file.size or (int(announced) if announced.isdigit() else 0)
        begins_anew = start > 0 and answer.status != http.HTTPStatus.PARTIAL_CONTENT
        with partial.open("wb" if begins_anew else "ab") as output:
            for piece in _pieces(answer, address):
                output.write(piece)
            output.flush()
            os.fsync(output.fileno())
    size = partial.stat().st_size
    if size < whole:
        raise EnvironmentUnfit(
            f"the connection broke after {size} of {whole} bytes",
            where=address,
            remedy="run the command again to resume the download",
        )
    if file.size not in (None, size) or sha256_of(partial) != file.sha256:
        partial.unlink()
        raise DataError(
            "the downloaded file is not the published one: its SHA-256 differs",
            where=address,
            remedy="run the command again; if the error stays, download the file by hand and compare it",
        )
    partial.replace(path)


def _open(address: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER)
    except urllib.error.HTTPError as error:
        raise DataError(
            f"the server does not give the file (HTTP {error.code})",
            where=address,
            remedy="try again later, or download the files by hand and give their folder with --path",
        ) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise EnvironmentUnfit(
            f"lilift cannot reach this address ({reason})",
            where=address,
            remedy="connect to the network, or download the files by hand and give their folder with --path",
        ) from None
    return answer


def _pieces(answer: http.client.HTTPResponse, address: str) -> Iterator[bytes]:
    while True:
        try:
            piece = answer.read(_PIECE)
        except (TimeoutError, ConnectionError, http.client.HTTPException):
            raise EnvironmentUnfit(
                "the connection broke", where=address, remedy="run the command again to resume the download"
            ) from None
        if not piece:
            return
        yield piece
