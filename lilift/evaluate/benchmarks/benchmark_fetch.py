"""Downloads a benchmark's files from the place where its authors published them.

`public_files.tsv` has the size and SHA-256 of every file. lilift does not download a complete file again, resumes an incomplete
one, and rejects a file with another hash (`lilift.data.downloads` holds the rule for every download).

MMWP, MGSM, MSVAMP, SIB-200 and PolyMath are files in repositories, each at one commit; their sums were computed from the files.
XNLI, X-CSQA and Belebele are archives, and lilift unpacks the files that it needs into the archive's folder. Others recorded
the archives' sums: TensorFlow Datasets (url_checksums/xnli.txt) and Hugging Face's datasets (xnli and xcsr,
dataset_infos.json), which agree on XNLI, and for Belebele two public evaluation projects, which agree. Nobody recorded the
size of Belebele's archive.

AfriMGSM and Global-MMLU-Lite are on the Hugging Face hub alone, and no sums of their files are known.
"""

from __future__ import annotations

import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lilift.data.downloads import WebFile, download
from lilift.evaluate.benchmarks.benchmark_sources import languages_of
from lilift.recipe.errors import DataError
from lilift.recipe.storage import write_bytes

HOST = "https://raw.githubusercontent.com"


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
        DataError: the server does not have a file, or has another one, as `download` says.
        StorageError: the folder cannot be written.
    """
    files, source = public_files(benchmark), PUBLIC[benchmark]
    fetched = 0
    for number, file in enumerate(files):
        progress(number, len(files))
        path = folder / file.name
        on_the_web = WebFile(f"{host or source.host}/{source.place}/{urllib.parse.quote(file.name)}", file.sha256, file.size)
        if not on_the_web.is_at(path):
            download(on_the_web, path)
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
