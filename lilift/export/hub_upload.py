"""Sends an export to the Hugging Face hub: into a private repository, and only the files that the export lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.export.model_card import FILE_NAME
from lilift.export.runner.description import DESCRIPTION
from lilift.model.sources import cannot_be_reached
from lilift.recipe.errors import EnvironmentUnfit, LiliftError, ModelError, RecipeError, RunFolderError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOGIN = "run `hf auth login` with a token that may write, or set HF_TOKEN"


@dataclass(frozen=True)
class Upload:
    """What lilift will send.

    Attributes:
        folder: the export.
        repository: the name on the hub, owner/name.
        files: the size in bytes of each file, by its name in the export.
        is_there: whether the repository exists already.
        private: whether it is, or will be, private.
    """

    folder: Path
    repository: str
    files: dict[str, int]
    is_there: bool
    private: bool

    def lines(self) -> list[str]:
        """What will happen, as lines to print before anything is sent."""
        total = sum(self.files.values())
        what = f"{'private' if self.private else 'PUBLIC'} repository {self.repository}"
        lines = [f"to the {'existing' if self.is_there else 'new'} {what} on the hub, {total / 1e6:,.1f} MB:"]
        return [*lines, *(f"  {name}: {size / 1e6:,.1f} MB" for name, size in self.files.items())]


def plan_upload(folder: Path, repository: str, *, public: bool, api: HfApi | None = None) -> Upload:
    """Look at the export and at the hub, and send nothing.

    Args:
        folder: the export.
        repository: the name on the hub: owner/name, or only a name, which lilift completes by the owner of the token.
        public: whether a new repository is public.
        api: how to reach the hub.

    Raises:
        RunFolderError: the folder is no whole export.
        RecipeError: the name cannot be the name of a repository.
        ModelError: the hub knows no valid token, or refuses.
        EnvironmentUnfit: lilift cannot reach the hub.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    files = _files(folder)
    api = _api() if api is None else api
    with _hub_errors(repository):
        owner = api.whoami()["name"]
        name = repository if "/" in repository else f"{owner}/{repository}"
        try:
            found: Any = api.model_info(name)
        except RepositoryNotFoundError:
            return Upload(folder, name, files, is_there=False, private=not public)
    return Upload(folder, name, files, is_there=True, private=bool(found.private))


def send(upload: Upload, *, api: HfApi | None = None) -> str:
    """Create the repository if it is not there, and send the files. A repeated call sends only what is missing there.

    Returns:
        The address of the repository.

    Raises:
        ModelError: the hub refuses.
        EnvironmentUnfit: the connection broke. The files that arrived stay; call again.
    """
    api = _api() if api is None else api
    with _hub_errors(upload.repository):
        address = api.create_repo(upload.repository, private=upload.private, exist_ok=True)
        # The names are the patterns, so that nothing else in the folder leaves this machine.
        api.upload_folder(
            repo_id=upload.repository,
            folder_path=upload.folder,
            allow_patterns=[_as_pattern(name) for name in upload.files],
            commit_message="Upload by lilift",
        )
    return str(address)


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi()


def _files(folder: Path) -> dict[str, int]:
    try:
        names = [*json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["sha256"], DESCRIPTION]
        sizes = {name: (folder / name).stat().st_size for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        raise RunFolderError(
            "this is no whole export", where=folder, remedy="write it with `lilift export RUN --output DIR`"
        ) from None
    return dict(sorted(sizes.items(), key=lambda item: (item[0] != FILE_NAME, item[0])))


def _as_pattern(name: str) -> str:
    """The name as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Turn what can go wrong at the hub into one line each."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except LiliftError:
        raise
    except LocalTokenNotFoundError:
        raise ModelError("the hub needs to know who you are", where=repository, remedy=LOGIN) from None
    except OfflineModeIsEnabled:
        raise EnvironmentUnfit("you set HF_HUB_OFFLINE", where=repository, remedy="unset it and repeat the command") from None
    except HFValidationError:
        raise RecipeError(
            f"{repository!r} cannot be a name on the hub",
            where="--push",
            remedy="write owner/name with letters, digits, '-', '_' and '.'",
        ) from None
    except HfHubHTTPError as error:
        raise _refusal(error, repository) from None
    except OSError as error:  # no network, a name that does not resolve, a connection that broke
        raise _unreachable(repository, error) from None
    except Exception as error:
        if not (cannot_be_reached(error) or type(error).__module__.startswith("hf_xet")):
            raise
        raise _unreachable(repository, error) from None


def _refusal(error: Any, repository: str) -> LiliftError:
    status = getattr(error.response, "status_code", None)
    if status == 401:
        return ModelError("the hub does not accept your token", where=repository, remedy=LOGIN)
    if status == 403:
        return ModelError("your token may not write there", where=repository, remedy=f"name your own account, or {LOGIN}")
    detail = " ".join(str(getattr(error, "server_message", None) or error).split())[:200]
    if status is not None and status >= 500:
        return EnvironmentUnfit(f"the hub failed ({status}: {detail})", where=repository, remedy="repeat the command later")
    return ModelError(f"the hub refuses ({status}: {detail})", where=repository, remedy="check the name and your account")


def _unreachable(repository: str, error: BaseException) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"lilift cannot reach the hub ({type(error).__name__})",
        where=repository,
        remedy="check the network and repeat the command; what has arrived is not sent again",
    )
