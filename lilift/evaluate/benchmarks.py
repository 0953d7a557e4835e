"""Benchmarks: the questions of one language and their gold answers.

`world` is generated; `mmwp` and `mgsm` are read from their authors' files. Rows of one benchmark have the same id in every
language, so that results can be compared row by row.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from lilift.data.languages import language as known_language
from lilift.data.world import test_problems
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings

WORLD_QUESTIONS = 200
"""Questions of the generated benchmark in each language, where no limit is set."""

_GOLD = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """One question; `id` is the same in every language of its benchmark."""

    id: str
    text: str
    gold: Decimal


@dataclass(frozen=True)
class Benchmark:
    """The questions of one benchmark in one language.

    Attributes:
        name: the benchmark's name.
        language: the code of the language asked in.
        questions: what is asked.
        rows_read: how many rows its source holds; more than the questions where a limit is set.
    """

    name: str
    language: str
    questions: tuple[Question, ...]
    rows_read: int


@dataclass(frozen=True)
class _Files:
    """A benchmark that comes as one file a language."""

    pattern: str
    read: Callable[[Path], Iterator[tuple[int, str, object]]]
    remedy: str


def load_benchmark(settings: BenchmarkSettings, language: str, *, seed: int = 0) -> Benchmark:
    """Read or generate the questions of one language.

    Args:
        settings: which benchmark, where its files are, how many questions.
        language: code of the language.
        seed: draws the questions of `world`; without meaning for the others.

    Raises:
        DataError: the benchmark has no such language, its file is missing, empty, not UTF-8 or of another format, or a gold
            answer is not a number.
    """
    known_language(language)
    if settings.name == "world":
        problems = test_problems(language, settings.limit or WORLD_QUESTIONS, seed)
        questions = [Question(problem.id, problem.question, Decimal(problem.answer or "")) for problem in problems]
        return Benchmark("world", language, tuple(questions), len(questions))
    path = _file_of(settings, language)
    rows = [_question(path, number, text, gold) for number, text, gold in _FILES[settings.name].read(path)]
    if not rows:
        raise DataError("the benchmark file has no rows", where=path, remedy=_FILES[settings.name].remedy)
    return Benchmark(settings.name, language, tuple(rows[: settings.limit]), len(rows))


def _question(path: Path, number: int, text: str, gold: object) -> Question:
    if not text.strip():
        raise DataError("the question is empty", where=f"{path}: row {number}", remedy="restore the file from its source")
    written = str(gold).strip()
    if _GOLD.fullmatch(written) is None:
        raise DataError(
            f"the gold answer {written[:40]!r} is not a number",
            where=f"{path}: row {number}",
            remedy="restore the file from its source",
        )
    return Question(str(number), text.strip(), Decimal(written.replace(",", "")))


def _file_of(settings: BenchmarkSettings, language: str) -> Path:
    """The file of one language, plain or gzipped."""
    files = _FILES[settings.name]
    if settings.path is None:
        raise DataError(f"the benchmark {settings.name!r} needs the folder of its files (`path`)", remedy=files.remedy)
    folder = Path(settings.path).expanduser()
    if not folder.is_dir():
        raise DataError(f"no such folder, given for the benchmark {settings.name!r}", where=folder, remedy=files.remedy)
    for suffix in ("", ".gz"):
        path = folder / (files.pattern.format(language) + suffix)
        if path.is_file():
            return path
    there = _languages_in(folder, files.pattern)
    if not there:
        raise DataError(f"no file {files.pattern.format('<language>')} is in this folder", where=folder, remedy=files.remedy)
    raise DataError(f"{settings.name} has no questions in {language!r}", where=folder, remedy=f"choose from {', '.join(there)}")


def _languages_in(folder: Path, pattern: str) -> list[str]:
    name = re.compile(re.escape(pattern).replace(r"\{\}", r"([A-Za-z-]+)") + r"(?:\.gz)?")
    return sorted({match.group(1) for path in folder.iterdir() if (match := name.fullmatch(path.name))})


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("the benchmark file is not UTF-8 text", where=path, remedy="restore it from its source") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged gzip data"
        raise DataError(f"cannot read the benchmark file ({reason})", where=path, remedy="restore it from its source") from None


def _read_mmwp(path: Path) -> Iterator[tuple[int, str, object]]:
    """A JSON list of ``{"question": …, "answer": …}``; rows are counted from 0, as in the authors' code."""
    try:
        rows = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON ({error.msg})", where=f"{path}:{error.lineno}", remedy="restore the file from its source"
        ) from None
    if not isinstance(rows, list):
        raise DataError("not a JSON list of questions", where=path, remedy="use the authors' test_<code>.json as it is")
    for number, row in enumerate(rows):
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("question"), str)
            or not isinstance(row.get("answer"), (str, int, float))
        ):
            raise DataError(
                "the row is not an object with `question` and `answer`",
                where=f"{path}: row {number}",
                remedy="use the authors' test_<code>.json as it is",
            )
        yield number, row["question"], row["answer"]


def _read_mgsm(path: Path) -> Iterator[tuple[int, str, object]]:
    """Lines of ``question<TAB>answer``, without a header and without quoting; rows are counted from 0."""
    lines = _read_text(path).split("\n")
    for number, line in enumerate(lines):
        if not line.strip() and number == len(lines) - 1:
            continue
        columns = line.rstrip("\r").split("\t")
        if len(columns) != 2:
            raise DataError(
                f"{len(columns)} columns instead of 2, question and answer",
                where=f"{path}:{number + 1}",
                remedy="use the authors' mgsm_<code>.tsv as it is",
            )
        yield number, columns[0], columns[1]


_FILES = {
    "mmwp": _Files(
        pattern="test_{}.json",
        read=_read_mmwp,
        remedy="set `path` to a folder with MMWP's test_<code>.json files: baseline_evaluation/eval_data/m_asdiv_mawps "
        "of github.com/AzureStarz/AlignSFT (no licence stated)",
    ),
    "mgsm": _Files(
        pattern="mgsm_{}.tsv",
        read=_read_mgsm,
        remedy="set `path` to a folder with MGSM's mgsm_<code>.tsv files: folder mgsm of github.com/google-research/url-nlp "
        "(CC-BY 4.0)",
    ),
}
