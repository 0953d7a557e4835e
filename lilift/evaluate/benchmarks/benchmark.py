"""Benchmarks: the questions of one language and their gold answers.

`world` is generated. The others are read from their authors' files, from the Hugging Face hub, or from a few rows of our own
that ship for smoke tests (`sample`, and called so in every table). Rows of one benchmark have the same id in every language, so
that results can be compared row by row; `check_alignment` makes sure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path

from lilift.data.languages import language as known_language
from lilift.data.languages import languages as known_languages
from lilift.data.world import test_problems
from lilift.evaluate.benchmarks.benchmark_files import (
    LETTERS,
    MSVAMP_NAMES,
    NLI_LABELS,
    XCSQA_CODES,
    FileForm,
    Row,
    read_json_list,
    read_mgsm,
    read_msvamp,
    read_xcsqa,
    read_xnli_pairs,
    read_xnli_release,
)
from lilift.evaluate.benchmarks.benchmark_hub import HubForm, rows_from_hub
from lilift.evaluate.benchmarks.mmwp_faults import mmwp_is_sound
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings

WORLD_QUESTIONS = 200
"""Questions of the generated benchmark in each language, where no limit is set."""
SAMPLE_SUFFIX = "-sample"
"""Ends the name of a benchmark of which only our own sample was asked."""
LIKELIHOOD_SUFFIX = "-likelihood"
"""Ends the name of a benchmark whose labels were chosen by likelihood: other answers than those that a model writes."""


@dataclass(frozen=True)
class Question:
    """One question; `id` is the same in every language of its benchmark.

    Attributes:
        id: tells it from the others.
        text: what is asked.
        gold: the right answer: a number, or one of `labels`.
        labels: what to choose from, where the answer is not a number.
        choices: what each label stands for, where labels are letters.
        sound: whether the row is as its authors meant it; False where the translation lost a number or the gold is known to be
            wrong.
    """

    id: str
    text: str
    gold: Decimal | str
    labels: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    sound: bool = True


@dataclass(frozen=True)
class Benchmark:
    """The questions of one benchmark in one language.

    Attributes:
        name: the benchmark's name, then `SAMPLE_SUFFIX` where it is our own sample of it, then `LIKELIHOOD_SUFFIX` where
            labels are chosen by likelihood.
        language: the code of the language asked in.
        questions: what is asked.
        rows_read: how many rows its source holds; more than the questions where a limit is set.
    """

    name: str
    language: str
    questions: tuple[Question, ...]
    rows_read: int

    @property
    def by_likelihood(self) -> bool:
        """Whether the likeliest label is the answer, instead of the one that a response names."""
        return self.name.endswith(LIKELIHOOD_SUFFIX)


@dataclass(frozen=True)
class _Source:
    """Where a benchmark comes from.

    Attributes:
        forms: the forms in which its authors publish files, tried in order.
        rows: how many rows each language has.
        hub: where it is on the Hugging Face hub, if it is.
        labels: what its answers are chosen from; empty where they are numbers.
        remedy: where to get the files.
    """

    forms: tuple[FileForm, ...]
    rows: int
    hub: HubForm | None
    labels: tuple[str, ...]
    remedy: str


_JSON_LIST = FileForm("test_{}.json", read_json_list)
_SOURCES = {
    "mmwp": _Source(
        forms=(_JSON_LIST,),
        rows=811,
        hub=None,
        labels=(),
        remedy="get them with `lilift eval fetch mmwp`, or set `path` to a folder with MMWP's test_<code>.json files: "
        "baseline_evaluation/eval_data/m_asdiv_mawps of github.com/AzureStarz/AlignSFT (no licence stated)",
    ),
    "mgsm": _Source(
        forms=(FileForm("mgsm_{}.tsv", read_mgsm), _JSON_LIST),
        rows=250,
        hub=HubForm("juletxara/mgsm", "{}", "test"),
        labels=(),
        remedy="get them with `lilift eval fetch mgsm`, or set `path` to a folder with MGSM's mgsm_<code>.tsv files: folder "
        "mgsm of github.com/google-research/url-nlp (CC-BY 4.0)",
    ),
    "msvamp": _Source(
        forms=(FileForm("test_{}.json", read_msvamp, MSVAMP_NAMES, complete=True), _JSON_LIST),
        rows=1000,
        hub=HubForm("Mathoctopus/MSVAMP", "{}", "test"),
        labels=(),
        remedy="get them with `lilift eval fetch msvamp`, or set `path` to a folder with MSVAMP's test_<Language>.json files: "
        "step1_supervised_finetuning/data/msvamp of github.com/microsoft/MathOctopus (MIT)",
    ),
    "xnli": _Source(
        forms=(
            FileForm("xnli.test.tsv", read_xnli_release, shared=True),
            FileForm("test-{}.tsv", read_xnli_pairs),
        ),
        rows=5010,
        hub=HubForm("facebook/xnli", "{}", "test"),
        labels=NLI_LABELS,
        remedy="get them with `lilift eval fetch xnli`, set `source` to hub, or `path` to a folder with xnli.test.tsv of XNLI "
        "1.0 (github.com/facebookresearch/XNLI, CC BY-NC 4.0)",
    ),
    "xcsqa": _Source(
        forms=(FileForm("{}/dev.jsonl", read_xcsqa, XCSQA_CODES),),
        rows=1000,
        hub=HubForm("INK-USC/xcsr", "X-CSQA-{}", "validation", XCSQA_CODES),
        labels=LETTERS,
        remedy="get them with `lilift eval fetch xcsqa`, set `source` to hub, or `path` to the folder X-CSQA of the X-CSR data "
        "(github.com/INK-USC/XCSR)",
    ),
}


def load_benchmark(settings: BenchmarkSettings, language: str, *, seed: int = 0) -> Benchmark:
    """Read or generate the questions of one language.

    Args:
        settings: which benchmark, where its files are, how many questions.
        language: code of the language.
        seed: draws the questions of `world`; without meaning for the others.

    Raises:
        DataError: the benchmark has no such language; its file is missing, empty, not UTF-8, of another format, or has too few
            or too many rows; a gold answer is none.
        EnvironmentUnfit: the hub cannot be reached.
    """
    language = known_language(language).code
    if settings.name == "world":
        problems = test_problems(language, settings.limit or WORLD_QUESTIONS, seed)
        questions = [Question(problem.id, problem.question, Decimal(problem.answer or "")) for problem in problems]
        return Benchmark("world", language, tuple(questions), len(questions))
    source = _SOURCES[settings.name]
    where, rows = _rows(settings, source, language)
    sample = settings.source == "sample"
    if not rows:
        raise DataError("the benchmark file has no rows", where=where, remedy=source.remedy)
    if len(rows) != source.rows and not sample:
        raise DataError(
            f"{len(rows)} rows instead of {settings.name}'s {source.rows}",
            where=where,
            remedy="get the whole file from its source",
        )
    sound = settings.name == "mmwp" and not sample
    return Benchmark(
        settings.name + (SAMPLE_SUFFIX if sample else "") + (LIKELIHOOD_SUFFIX if settings.labels == "likelihood" else ""),
        language,
        tuple(
            Question(row.id, row.text, row.gold, source.labels, row.choices, not sound or mmwp_is_sound(int(row.id), language))
            for row in rows[: settings.limit]
        ),
        len(rows),
    )


def check_alignment(benchmarks: Sequence[Benchmark]) -> None:
    """Make sure that the languages of each benchmark hold the same rows.

    Raises:
        DataError: two languages differ in their ids or gold answers: their files are of different versions.
    """
    first: dict[str, Benchmark] = {}
    for one in benchmarks:
        other = first.setdefault(one.name, one)
        for mine, theirs in zip(one.questions, other.questions, strict=False):
            if (mine.id, mine.gold) != (theirs.id, theirs.gold):
                row = f"row {mine.id}" if mine.id == theirs.id else f"row {mine.id} in {one.language!r} is row {theirs.id}"
                raise DataError(
                    f"{row}: the right answer is {mine.gold} in {one.language!r} and {theirs.gold} in {other.language!r}, so "
                    "the files do not belong together",
                    where=one.name,
                    remedy="get both from one version of the benchmark",
                )


def published_name(name: str) -> str:
    """The name of the benchmark behind a `Benchmark.name`, in the words of `BenchmarkSettings`."""
    return name.removesuffix(LIKELIHOOD_SUFFIX).removesuffix(SAMPLE_SUFFIX)


def fetched_folder(name: str) -> Path:
    """Where `lilift eval fetch` puts a benchmark, and where it is looked for when no folder is given."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "lilift" / "benchmarks" / name


def _rows(settings: BenchmarkSettings, source: _Source, language: str) -> tuple[str | Path, list[Row]]:
    """Where the rows of a language come from, and the rows."""
    if settings.source == "hub":
        if source.hub is None:
            raise DataError(f"{settings.name} is not on the hub", where="evaluate.benchmarks", remedy=source.remedy)
        return f"{source.hub.name} on the hub", rows_from_hub(source.hub, language)
    form, path = _file_of(settings, source, language)
    return path, list(form.read(path, language))


def _file_of(settings: BenchmarkSettings, source: _Source, language: str) -> tuple[FileForm, Path]:
    """The file of one language, and its form."""
    folder = _folder(settings, source)
    for form in source.forms:
        if path := form.find(folder, language):
            return form, path
    there = sorted({code for form in source.forms for code in form.languages(folder) if code in known_languages()})
    if not there:
        patterns = " or ".join(form.pattern.format("<language>") for form in source.forms)
        raise DataError(f"no file {patterns} is in this folder", where=folder, remedy=source.remedy)
    raise DataError(f"{settings.name} has no questions in {language!r}", where=folder, remedy=f"choose from {', '.join(there)}")


def _folder(settings: BenchmarkSettings, source: _Source) -> Path:
    if settings.source == "sample":
        return Path(str(resources.files("lilift.evaluate.benchmarks") / "samples" / settings.name))
    if settings.path is None:
        folder = fetched_folder(settings.name)
        if not folder.is_dir():
            raise DataError(f"the benchmark {settings.name!r} needs the folder of its files (`path`)", remedy=source.remedy)
        return folder
    folder = Path(settings.path).expanduser()
    if not folder.is_dir():
        raise DataError(f"no such folder, given for the benchmark {settings.name!r}", where=folder, remedy=source.remedy)
    return folder
