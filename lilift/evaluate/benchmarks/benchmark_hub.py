"""Benchmarks from the Hugging Face hub.

Some of them are data set scripts there, which are never run. Read instead are the parquet files that the hub makes of every
data set: one for each configuration and split, on the branch `refs/convert/parquet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.evaluate.benchmarks.benchmark_files import Row, choice_row, choices_of, nli_row, number_row
from lilift.recipe.errors import DataError, EnvironmentUnfit

_BRANCH = "refs/convert/parquet"


@dataclass(frozen=True)
class HubForm:
    """A benchmark on the hub.

    Attributes:
        name: its name there.
        configuration: the configuration of a language, ``{}`` standing for its code.
        split: the split with answers.
        written: how it writes codes that it writes in its own way.
    """

    name: str
    configuration: str
    split: str
    written: Mapping[str, str] | None = None


def rows_from_hub(form: HubForm, language: str) -> list[Row]:
    """The rows of one language, downloaded once and kept in the hub's own cache.

    Raises:
        DataError: the hub has no such language, or rows of another form.
        EnvironmentUnfit: the hub cannot be reached and nothing was downloaded before.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_table

    configuration = form.configuration.format((form.written or {}).get(language, language))
    path = _download(form.name, f"{configuration}/{form.split}/0000.parquet", language)
    try:
        rows = read_table(path).to_pylist()
    except (OSError, ArrowInvalid):
        raise DataError("the downloaded file is damaged", where=path, remedy="delete it and try again") from None
    return [_row(f"{form.name} {configuration}: row {number}", str(number), row) for number, row in enumerate(rows)]


def _download(name: str, file: str, language: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(name, file, repo_type="dataset", revision=_BRANCH))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError):
        raise EnvironmentUnfit(
            f"the hub cannot be reached, and {file} was not downloaded before",
            where=name,
            remedy="connect once to download it, or give the folder of the authors' files with `path`",
        ) from None
    except EntryNotFoundError:
        raise DataError(f"the hub has no file {file} of it, so it may lack {language!r}", where=name) from None
    except HfHubHTTPError as error:
        raise EnvironmentUnfit(f"the hub refused {file} ({error.response.status_code})", where=name) from None


def _row(where: str, id: str, row: Mapping[str, Any]) -> Row:
    """A row by the columns that it has."""
    if "premise" in row:
        return nli_row(where, id, row["premise"], row.get("hypothesis"), row.get("label"))
    if "answerKey" in row:
        question = row.get("question") or {}
        return choice_row(where, str(row.get("id") or id), question.get("stem"), choices_of(question), row["answerKey"])
    if "m_query" in row:
        return number_row(where, id, row["m_query"], row.get("response"))
    return number_row(where, id, row.get("question"), row.get("answer_number"))
