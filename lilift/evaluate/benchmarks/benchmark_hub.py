"""Reads benchmarks from the Hugging Face hub.

Some of them are dataset scripts there, and lilift never runs a script. It reads the parquet files that the hub makes of every
dataset: one for each configuration and split, on the branch `refs/convert/parquet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lilift.evaluate.benchmarks.benchmark_files import NoSuchLanguage, rows_of_parquet
from lilift.evaluate.benchmarks.benchmark_rows import Row
from lilift.recipe.errors import EnvironmentUnfit

_BRANCH = "refs/convert/parquet"


@dataclass(frozen=True)
class HubForm:
    """A benchmark on the hub.

    Attributes:
        name: its name on the hub.
        configuration: the configuration of a language, with ``{}`` in place of its code.
        split: the split that has answers.
        written: language codes that the benchmark writes differently, with their spelling there.
    """

    name: str
    configuration: str
    split: str
    written: Mapping[str, str] | None = None


def rows_from_hub(form: HubForm, language: str) -> list[Row]:
    """The rows of one language, downloaded once and then read from the hub's own cache.

    Raises:
        DataError: the hub does not have this language, or its rows have another format.
        EnvironmentUnfit: lilift cannot reach the hub and did not download the file before.
    """
    configuration = form.configuration.format((form.written or {}).get(language, language))
    path = _download(form.name, f"{configuration}/{form.split}/0000.parquet", language)
    return list(rows_of_parquet(path, f"{form.name} {configuration}"))


def _download(name: str, file: str, language: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(name, file, repo_type="dataset", revision=_BRANCH))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError):
        raise EnvironmentUnfit(
            f"lilift cannot reach the Hugging Face hub, and {file} was not downloaded before",
            where=name,
            remedy="connect to the network once to download it, or give the folder of the authors' files with `path`",
        ) from None
    except EntryNotFoundError:
        raise NoSuchLanguage(
            f"the hub has no file {file}, so this benchmark may not have the language {language!r}",
            where=name,
            remedy="choose another language, or give the folder of the authors' files with `path`",
        ) from None
    except HfHubHTTPError as error:
        raise EnvironmentUnfit(
            f"the hub does not give the file {file} (HTTP {error.response.status_code})",
            where=name,
            remedy="try again later, or give the folder of the authors' files with `path`",
        ) from None
