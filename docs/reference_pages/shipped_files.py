"""The page on what ships with lilift: source and licence of every file that is not code, and the packages needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import tomllib
from packaging.requirements import Requirement

from docs.reference_pages.pages import origin, table

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("lilift", "kernels/lilift_kernels", "recipes")
OWN = "Apache-2.0 (lilift's own)"


@dataclass(frozen=True)
class Origin:
    """Where some shipped files come from.

    Attributes:
        patterns: paths from the root of the repository; `*` matches slashes too.
        content: what the files are.
        source: who wrote them, or from what they were made, and the command that makes them again.
        licence: the licence of their content.
    """

    patterns: tuple[str, ...]
    content: str
    source: str
    licence: str


_NAMES = "https://www.unicode.org/license.txt"
_PUBLISHED = "facts about published files; no content of theirs"
ORIGINS = (
    Origin(
        ("lilift/data/world/gatitos/en_*.tsv",),
        "English words of the task world in Oromo, Quechua, Lingala, Fijian and Tongan",
        "an excerpt of GATITOS by Google Research, with changes that `ATTRIBUTION.md` lists "
        "(`python -m lilift.data.world.gatitos_excerpt`)",
        "CC BY 4.0",
    ),
    Origin(("lilift/data/world/gatitos/ATTRIBUTION.md",), "attribution of GATITOS", "written for lilift", OWN),
    Origin(("lilift/data/world/*.txt",), "sentence patterns and English words of the task world", "written for lilift", OWN),
    Origin(
        ("lilift/stand_ins/*/model.safetensors", "lilift/stand_ins/*.json", "lilift/stand_ins/encoder/spiece.model"),
        "the two small models of `tiny-cpu` with their tokenizers",
        "trained from random weights on text of the task world, which contains words of GATITOS; no weights or tokenizer of "
        "others (`make stand-ins`)",
        f"{OWN}; words of GATITOS: CC BY 4.0",
    ),
    Origin(
        ("lilift/evaluate/answers/number_customs.tsv",),
        "how each language writes numbers",
        "Unicode's CLDR 49 through Babel 2.19.0 (`python -m benchmarks number_customs_table`)",
        f"[Unicode-3.0]({_NAMES})",
    ),
    Origin(
        ("lilift/recipe/names/language_names.tsv",),
        "codes and names of languages",
        "Unicode's CLDR through Babel 2.19.0, and langcodes 3.5.1 (`python -m benchmarks language_names_table`)",
        f"[Unicode-3.0]({_NAMES}); langcodes: MIT",
    ),
    Origin(
        ("lilift/recipe/names/close_codes.tsv", "lilift/data/languages.tsv"),
        "lilift's languages, and decisions on ambiguous codes",
        "written for lilift",
        OWN,
    ),
    Origin(
        ("lilift/evaluate/answers/number_words.tsv", "lilift/evaluate/answers/responses/answer_phrases.tsv"),
        "single words for numbers, and phrases that announce an answer",
        "written for lilift",
        OWN,
    ),
    Origin(
        ("lilift/evaluate/answers/published_stops.tsv",),
        "the word for “Question:” at which the published scoring of MMWP, MGSM and MSVAMP stops, a word a language",
        "read from the published evaluation programs; lilift contains no code of theirs",
        "single words",
    ),
    Origin(
        ("lilift/evaluate/benchmarks/mmwp_faults.tsv",),
        "numbers that MMWP's translations lost or added, by row; no text of a question",
        "computed from MMWP's files",
        f"{OWN}; {_PUBLISHED}",
    ),
    Origin(
        ("lilift/evaluate/benchmarks/public_files.tsv", "lilift/data/lexicons/downloads.tsv"),
        "names, sizes and SHA-256 sums of the benchmark files and dictionaries that lilift can download",
        "computed from the published files, or recorded by others (`benchmark_fetch.py`)",
        f"{OWN}; {_PUBLISHED}",
    ),
    Origin(
        ("lilift/phases/routes/model_languages.tsv",),
        "which models say that they know a language; the file's header names the page of each model",
        "written for lilift from the models' pages",
        OWN,
    ),
    Origin(
        ("lilift/phases/routes/dictionary_sizes.tsv",),
        "sizes of public dictionaries by language; no word of them",
        "`python -m benchmarks lexicon_coverage`",
        OWN,
    ),
    Origin(
        ("lilift/evaluate/benchmarks/benchmark_languages.tsv",),
        "the code of each language in each benchmark",
        "written for lilift",
        f"{OWN}; {_PUBLISHED}",
    ),
    Origin(
        ("lilift/evaluate/benchmarks/samples/*",),
        "a few rows in the format of each benchmark",
        "written for lilift; they are no rows of the benchmarks",
        OWN,
    ),
    Origin(
        ("lilift/memory/known_models/*.json",),
        "sizes of published models (layers, widths, vocabulary), for plans without a download",
        "numbers from the models' config.json; no weights and no tokenizer",
        f"{OWN}; {_PUBLISHED}",
    ),
    Origin(
        ("lilift/memory/fitted.json", "lilift/memory/measured.json"),
        "memory of the shipped recipes: fitted lines and measured peaks",
        "computed and measured by lilift (`python -m lilift.phases.fit_instant_plan`)",
        OWN,
    ),
    Origin(
        ("lilift/phases/report/*.j2", "lilift/export/server/page/*"),
        "templates of `report.html`, and the page of `lilift serve`",
        "written for lilift; they load nothing from elsewhere",
        OWN,
    ),
    Origin(("recipes/*.yaml", "recipes/recipe.schema.json"), "the shipped recipes and their schema", "written for lilift", OWN),
)

LICENCES = {
    "sentencepiece": "Apache-2.0", "pydantic": "MIT", "PyYAML": "MIT", "rich": "MIT", "jinja2": "BSD-3-Clause",
    "psutil": "BSD-3-Clause", "numpy": "BSD-3-Clause", "filelock": "MIT", "packaging": "Apache-2.0 OR BSD-2-Clause",
    "regex": "Apache-2.0 AND CNRI-Python", "torch": "BSD-3-Clause", "transformers": "Apache-2.0", "bitsandbytes": "MIT",
    "peft": "Apache-2.0", "accelerate": "Apache-2.0", "safetensors": "Apache-2.0", "protobuf": "BSD-3-Clause",
    "datasets": "Apache-2.0", "pyarrow": "Apache-2.0", "tokenizers": "Apache-2.0", "huggingface_hub": "Apache-2.0",
    "gguf": "MIT", "unsloth": "Apache-2.0", "gensim": "LGPL-2.1-only", "lm_eval": "MIT", "xllamacpp": "MIT", "cyllama": "MIT",
    "starlette": "BSD-3-Clause", "uvicorn": "BSD-3-Clause", "ctranslate2": "MIT",
    "tensorboard": "Apache-2.0", "trackio": "MIT", "wandb": "MIT",
    "uroman": "MIT with a clause: publications of what uses it name uroman",
}  # fmt: skip
"""The licence of each package that lilift imports, as an SPDX expression; libraries inside their wheels have their own."""
_EXTRAS = ("train", "gguf", "induction", "lm-eval", "unsloth", "pivot", "tensorboard", "trackio", "wandb")


def shipped_files(root: Path = ROOT) -> Iterator[str]:
    """The path of every shipped file that is not Python code."""
    for folder in SHIPPED:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "py.typed":
                yield path.relative_to(root).as_posix()


def by_origin(files: Iterable[str]) -> dict[Origin, list[str]]:
    """The files of each origin.

    Raises:
        ValueError: a file has no origin or several, or an origin has no file.
    """
    found: dict[Origin, list[str]] = {known: [] for known in ORIGINS}
    for file in files:
        fitting = [known for known in ORIGINS if any(fnmatchcase(file, pattern) for pattern in known.patterns)]
        if len(fitting) != 1:
            raise ValueError(f"{file} has {len(fitting)} rows in ORIGINS of docs/reference_pages/shipped_files.py, not one")
        found[fitting[0]].append(file)
    without = [known.patterns for known, its_files in found.items() if not its_files]
    if without:
        raise ValueError(f"ORIGINS of docs/reference_pages/shipped_files.py names files that do not exist: {without}")
    return found


def needed_packages() -> list[tuple[str, str, str]]:
    """Name, range and extra of each package that lilift needs to run; the extra is empty for those that every part needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"]} | {extra: project["optional-dependencies"][extra] for extra in _EXTRAS}
    parsed = [(Requirement(text), extra) for extra, texts in groups.items() for text in texts]
    return [(needed.name, str(needed.specifier), extra) for needed, extra in parsed]


def shipped_files_page() -> str:
    """The whole page."""
    files = [
        (
            ", ".join(f"`{pattern}`" for pattern in known.patterns),
            str(len(its_files)),
            known.content,
            known.source,
            known.licence,
        )
        for known, its_files in by_origin(shipped_files()).items()
    ]
    packages = [
        (f"`{name}`", f"`{versions}`", f"`{extra}`" if extra else "every part", LICENCES[name])
        for name, versions, extra in needed_packages()
    ]
    return f"""\
{origin("docs/reference_pages/shipped_files.py")}

# What ships with lilift

This page helps you to check sources and licences before you use lilift or pass it on. The code is under Apache-2.0.

## Files that are not code

lilift contains no rows of a benchmark, no training data, no dictionary other than the excerpt below, and no weights of a
published model. You download those yourself. `lilift lexicon fetch` and `lilift eval fetch` show the licence first.

{table(("files", "number", "content", "source", "licence"), files)}

## Packages

lilift contains no code of these packages: pip installs them. `requirements.lock` in the repository lists the packages that they
need in turn, with the SHA-256 sums of all files. gensim alone has a copyleft licence, and only `lilift lexicon induce
--train-embeddings` uses it.

{table(("package", "versions", "needed for (extra)", "licence"), packages)}
"""
