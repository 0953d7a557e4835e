"""The register of benchmarks: for each one its files, its place on the hub, languages, answers, licence and translators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from lilift.evaluate.benchmarks.benchmark_files import (
    FileForm,
    json_lines_with,
    parquet_with,
    read_json_list,
    read_mgsm,
    read_msvamp,
    read_xcsqa,
    read_xnli_pairs,
    read_xnli_release,
    table_with,
)
from lilift.evaluate.benchmarks.benchmark_hub import HubForm
from lilift.evaluate.benchmarks.benchmark_rows import LETTERS, NLI_LABELS, TOPICS

Translators = Literal["people", "machine, corrected by people", "machine", "generated"]
TRANSLATORS: tuple[Translators, ...] = ("people", "machine, corrected by people", "machine", "generated")
"""Who translated a benchmark, the most trustworthy first; lilift itself generates `world`."""


@cache
def languages_of(benchmark: str) -> Mapping[str, str]:
    """lilift's codes of a benchmark's languages, each with the benchmark's own spelling."""
    text = (resources.files("lilift.evaluate.benchmarks") / "benchmark_languages.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {language: written for name, language, written in rows if name == benchmark}


@dataclass(frozen=True)
class BenchmarkSource:
    """Where a benchmark comes from, and what it is.

    Attributes:
        asks: what its questions are, in a few words.
        forms: the file formats in which its authors publish it; lilift tries them in order.
        rows: number of rows of each language.
        hub: its place on the Hugging Face hub, or None.
        languages: lilift's codes of its languages, each with the benchmark's own spelling.
        labels: the possible answers; empty if answers are numbers.
        translated_by: who translated it out of English.
        licence: its licence in a few words.
        remedy: how the user gets the files.
        same_rows: whether every language has the same rows in the same order.
        by_id: whether lilift sorts the rows by their ids, because files may list them in another order.
    """

    asks: str
    forms: tuple[FileForm, ...]
    rows: int
    hub: HubForm | None
    languages: Mapping[str, str]
    labels: tuple[str, ...]
    translated_by: Translators
    licence: str
    remedy: str
    same_rows: bool = True
    by_id: bool = False

    @property
    def answer(self) -> Literal["number", "letter", "word"]:
        """The kind of answer: a number, the letter of a choice, or one of a few words."""
        if not self.labels:
            return "number"
        return "letter" if self.labels[0] in LETTERS else "word"


def _polymath(level: str) -> BenchmarkSource:
    languages = languages_of("polymath")
    columns = ("id", "question", "answer")
    return BenchmarkSource(
        asks=f"math problems, {level} level",
        forms=(
            FileForm(f"{{}}/{level}.jsonl", json_lines_with(*columns)),
            FileForm(f"{{}}/{level}.parquet", parquet_with(*columns)),
        ),
        rows=125,
        hub=HubForm("Qwen/PolyMath", "{}", level),
        languages=languages,
        labels=(),
        translated_by="machine, corrected by people",
        licence="Apache 2.0",
        remedy=f"get them with `lilift eval fetch polymath-{level}`, set `source` to hub, or `path` to a folder with "
        f"PolyMath's <code>/{level}.jsonl or <code>/{level}.parquet (github.com/QwenLM/PolyMath)",
    )


_JSON_LIST = FileForm("test_{}.json", read_json_list)
_AFRIMGSM = table_with("question", "answer_number")
_MMLU_COLUMNS = ("sample_id", "question", "option_a", "option_b", "option_c", "option_d", "answer")
SOURCES = {
    "afrimgsm": BenchmarkSource(
        asks="math word problems",
        forms=(
            FileForm("{}/test.tsv", _AFRIMGSM, languages_of("afrimgsm")),
            FileForm("data/{}/test.tsv", _AFRIMGSM, languages_of("afrimgsm")),
        ),
        rows=250,
        hub=HubForm("masakhane/afrimgsm", "{}", "test", languages_of("afrimgsm")),
        languages=languages_of("afrimgsm"),
        labels=(),
        translated_by="people",
        licence="Apache 2.0",
        remedy="set `source` to hub, or `path` to the folder data of huggingface.co/datasets/masakhane/afrimgsm, which has "
        "<code>/test.tsv",
    ),
    "mgsm": BenchmarkSource(
        asks="math word problems",
        forms=(FileForm("mgsm_{}.tsv", read_mgsm), _JSON_LIST),
        rows=250,
        hub=HubForm("juletxara/mgsm", "{}", "test"),
        languages=languages_of("mgsm"),
        labels=(),
        translated_by="people",
        licence="CC-BY 4.0",
        remedy="get them with `lilift eval fetch mgsm`, or set `path` to a folder with MGSM's mgsm_<code>.tsv files: folder "
        "mgsm of github.com/google-research/url-nlp (CC-BY 4.0)",
    ),
    "belebele": BenchmarkSource(
        asks="reading comprehension, four choices",
        forms=(
            FileForm(
                "{}.jsonl",
                json_lines_with(
                    *("link", "question_number", "flores_passage", "question", "correct_answer_num"),
                    *(f"mc_answer{number}" for number in range(1, 5)),
                ),
                languages_of("belebele"),
            ),
        ),
        rows=900,
        hub=HubForm("facebook/belebele", "{}", "test", languages_of("belebele")),
        languages=languages_of("belebele"),
        labels=LETTERS[:4],
        translated_by="people",
        licence="CC BY-SA 4.0",
        remedy="get them with `lilift eval fetch belebele`, set `source` to hub, or `path` to the folder with <code>.jsonl of "
        "Belebele.zip (github.com/facebookresearch/belebele)",
        by_id=True,
    ),
    "sib200": BenchmarkSource(
        asks="topic of a sentence, seven topics",
        forms=(
            FileForm("{}/test.tsv", table_with("index_id", "category", "text"), languages_of("sib200")),
            FileForm(
                "{}.tsv",
                table_with("split", "index_id", "category", "text", quoted=False, split="test"),
                languages_of("sib200"),
            ),
        ),
        rows=204,
        hub=HubForm("Davlan/sib200", "{}", "test", languages_of("sib200")),
        languages=languages_of("sib200"),
        labels=TOPICS,
        translated_by="people",
        licence="Apache 2.0, sentences CC BY-SA 4.0",
        remedy="get them with `lilift eval fetch sib200`, set `source` to hub, or `path` to the folder data/annotated of "
        "github.com/dadelani/sib-200, which has <code>/test.tsv",
    ),
    "xnli": BenchmarkSource(
        asks="entailment, neutral or contradiction",
        forms=(
            FileForm("xnli.test.tsv", read_xnli_release, shared=True),
            FileForm("test-{}.tsv", read_xnli_pairs),
        ),
        rows=5010,
        hub=HubForm("facebook/xnli", "{}", "test"),
        languages=languages_of("xnli"),
        labels=NLI_LABELS,
        translated_by="people",
        licence="CC BY-NC 4.0",
        remedy="get them with `lilift eval fetch xnli`, set `source` to hub, or `path` to a folder with xnli.test.tsv of XNLI "
        "1.0 (github.com/facebookresearch/XNLI, CC BY-NC 4.0)",
    ),
    "global-mmlu-lite": BenchmarkSource(
        asks="knowledge of many subjects, four choices",
        forms=(FileForm("{}/test-00000-of-00001.parquet", parquet_with(*_MMLU_COLUMNS)),),
        rows=400,
        hub=HubForm("CohereLabs/Global-MMLU-Lite", "{}", "test"),
        languages=languages_of("global-mmlu-lite"),
        labels=LETTERS[:4],
        translated_by="machine, corrected by people",
        licence="Apache 2.0",
        remedy="set `source` to hub, or `path` to a copy of huggingface.co/datasets/CohereLabs/Global-MMLU-Lite, which has "
        "<code>/test-00000-of-00001.parquet",
        same_rows=False,
        by_id=True,
    ),
    "polymath-low": _polymath("low"),
    "polymath-medium": _polymath("medium"),
    "polymath-high": _polymath("high"),
    "polymath-top": _polymath("top"),
    "mmwp": BenchmarkSource(
        asks="math word problems",
        forms=(_JSON_LIST,),
        rows=811,
        hub=None,
        languages=languages_of("mmwp"),
        labels=(),
        translated_by="machine",
        licence="none stated",
        remedy="get them with `lilift eval fetch mmwp`, or set `path` to a folder with MMWP's test_<code>.json files: "
        "baseline_evaluation/eval_data/m_asdiv_mawps of github.com/AzureStarz/AlignSFT (no licence stated)",
    ),
    "msvamp": BenchmarkSource(
        asks="math word problems",
        forms=(FileForm("test_{}.json", read_msvamp, languages_of("msvamp"), complete=True), _JSON_LIST),
        rows=1000,
        hub=HubForm("Mathoctopus/MSVAMP", "{}", "test"),
        languages=languages_of("msvamp"),
        labels=(),
        translated_by="machine",
        licence="MIT",
        remedy="get them with `lilift eval fetch msvamp`, or set `path` to a folder with MSVAMP's test_<Language>.json files: "
        "step1_supervised_finetuning/data/msvamp of github.com/microsoft/MathOctopus (MIT)",
    ),
    "xcsqa": BenchmarkSource(
        asks="common sense, five choices",
        forms=(FileForm("{}/dev.jsonl", read_xcsqa, languages_of("xcsqa")),),
        rows=1000,
        hub=HubForm("INK-USC/xcsr", "X-CSQA-{}", "validation", languages_of("xcsqa")),
        languages=languages_of("xcsqa"),
        labels=LETTERS,
        translated_by="machine",
        licence="MIT by its card",
        remedy="get them with `lilift eval fetch xcsqa`, set `source` to hub, or `path` to the folder X-CSQA of the X-CSR data "
        "(github.com/INK-USC/XCSR)",
    ),
}
