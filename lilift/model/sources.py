"""Find a model: a folder, a name on the Hugging Face hub, or a stand-in that ships with lilift.

Every failure on the way (a missing file, a gated or absent hub model, no network, damaged weights) becomes one `ModelError`.
lilift reads weights from safetensors only, because pickled weights can run code.

Heavy packages are imported where they are used: a wrong name is reported before anything slow happens, also without torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from lilift.recipe.errors import LiliftError, ModelError
from lilift.recipe.names.local_paths import local_folder, neither

STAND_IN = "stand-in:"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
SENTENCEPIECE_FILES = ("spiece.model", "sentencepiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model")
# Parts of what transformers says about a configuration, and what they mean.
_UNKNOWN_MODEL = {
    "Unrecognized model in": "config.json names no `model_type` that this version of transformers knows",
    "Transformers does not recognize this architecture": "this version of transformers does not know the model's architecture",
}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_folder_or_hub(name: str) -> str:
    """Turn a model's name in a recipe into what `from_pretrained` takes: a folder's path or a hub name.

    Args:
        name: a folder (see `lilift.recipe.names.local_paths`), a hub name, or ``stand-in:llm`` / ``stand-in:encoder``.

    Raises:
        ModelError: the folder or stand-in does not exist, the folder lacks the configuration or the weights, or the name is
            neither a folder nor a hub name.
    """
    if name.startswith(STAND_IN):
        return str(_stand_in(name))
    folder = local_folder(name)
    if folder is not None:
        check_model_folder(folder)
        return str(folder)
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is neither a folder in {Path.cwd()} nor a name on the hub",
            remedy="check the path; a hub name is owner/model",
        )
    return name


def check_model_folder(folder: Path) -> None:
    """Check that a folder holds a configuration and every file of its safetensors weights.

    Raises:
        ModelError: a file is missing, or the weights are pickled.
    """
    if not folder.is_dir():
        raise _no_folder(folder)
    if not (folder / "config.json").is_file():
        raise _no_configuration(folder)
    if (folder / WEIGHTS).is_file():
        return
    if not (folder / WEIGHTS_INDEX).is_file():
        raise _no_weights(folder)
    for shard in sorted(_shards(folder / WEIGHTS_INDEX)):
        if not (folder / shard).is_file():
            raise ModelError(f"a part of the weights is missing: {shard}", where=folder, remedy="download it again")


def _no_folder(folder: Path) -> ModelError:
    if folder.is_file():
        what = "a GGUF file, which lilift writes and does not train" if folder.suffix == ".gguf" else "a file"
        remedy = "give the folder of the model's Hugging Face files: config.json, the tokenizer and model.safetensors"
        return ModelError(f"this is {what}", where=folder, remedy=remedy)
    return ModelError("no such model folder", where=folder, remedy="check the path in the recipe")


def _no_configuration(folder: Path) -> ModelError:
    if (folder / ADAPTER_CONFIG).is_file():
        return ModelError(
            f"the folder holds a LoRA adapter of {_base_of_adapter(folder)}, and no whole model",
            where=folder,
            remedy="merge the adapter into its base model (`merge_and_unload` of peft) and give the folder of the result",
        )
    if any(folder.glob("*.gguf")):
        remedy = "give the folder of the model's Hugging Face files, which has config.json and model.safetensors"
        return ModelError("the folder holds GGUF files, which lilift writes and does not train", where=folder, remedy=remedy)
    inner = next((path.parent for path in sorted(folder.glob("*/config.json")) if (path.parent / WEIGHTS).is_file()), None)
    remedy = "point to a complete Hugging Face model" if inner is None else f"give {inner} instead"
    return ModelError("the model folder has no config.json", where=folder, remedy=remedy)


def _no_weights(folder: Path) -> ModelError:
    inner = next((path.parent for path in sorted(folder.glob(f"*/{WEIGHTS}")) if (path.parent / "config.json").is_file()), None)
    if inner is not None:  # older models of sentence-transformers: 0_Transformer
        return ModelError(f"the model folder has no {WEIGHTS}", where=folder, remedy=f"give {inner} instead")
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    return ModelError(
        "the model's weights are pickled, which lilift never loads" if pickled else f"the model folder has no {WEIGHTS}",
        where=folder,
        remedy="convert them with `save_pretrained`" if pickled else "download the model's safetensors files again",
    )


def _base_of_adapter(folder: Path) -> str:
    try:
        return str(json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another model"


def require_configuration(name: str, revision: str | None = None, *, what: str) -> None:
    """Check that a model exists: that its folder is complete, or that the hub or its cache has its config.json.

    This needs no torch and takes a moment, so that lilift reports a wrong name before it loads anything.

    Raises:
        ModelError: there is no such model, or lilift cannot reach the hub.
    """
    location = model_folder_or_hub(name)
    if Path(location).is_dir():
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(location, "config.json", revision=revision), str):
        return
    try:
        # One request. `hf_hub_download` would repeat it for half a minute on a machine without a network (version 2.4).
        get_hf_file_metadata(hf_hub_url(location, "config.json", revision=revision))
    except Exception as error:  # the HTTP library's errors have no common class with the hub's
        raise loading_error(error, name, what) from error


def check_tokenizer(tokenizer: Any, name: str, *, what: str) -> None:
    """Check that a tokenizer of transformers has a vocabulary. Some families get an empty one if its files are missing.

    Raises:
        ModelError: it does not know the letter "a".
    """
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    if not ids or tokenizer.unk_token_id in ids:
        raise ModelError(
            f"the {what}'s tokenizer does not know a single letter; its files seem to be missing",
            where=name,
            remedy="add tokenizer.json, or the model's SentencePiece file, to the model folder",
        )


@contextmanager
def loading(name: str, *, what: str) -> Iterator[None]:
    """Turn every failure of loading into one `ModelError`.

    The block hides the libraries' own messages and the bars that transformers shows while it reads a file. It shows the bars of
    downloads.

    Args:
        name: the model, as the recipe names it.
        what: the kind of thing that the block loads, e.g. ``encoder``.
    """
    import logging

    from huggingface_hub.errors import StrictDataclassError
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bars, hub_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    if hub_bars:
        enable_progress_bars()
    try:
        yield
    except LiliftError:
        raise
    except (
        *(OSError, ValueError, LookupError, RuntimeError, ImportError, SafetensorError, StrictDataclassError),
        *(TypeError, AttributeError, ArithmeticError, AssertionError),  # sizes in a configuration that make no sense
    ) as error:
        raise loading_error(error, name, what) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def loading_error(error: BaseException, name: str, what: str) -> ModelError:
    """The one-line error for what the hub, transformers or safetensors raised."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from safetensors import SafetensorError

    for cause in _causes(error):
        if isinstance(cause, GatedRepoError):
            return ModelError(
                f"the {what} is gated on the hub",
                where=name,
                remedy=f"accept its licence at https://huggingface.co/{name}, then run `hf auth login`",
            )
        if isinstance(cause, RevisionNotFoundError):
            return ModelError(
                f"the hub has no such revision of the {what}", where=name, remedy="check `revision` in the recipe"
            )
        if _is_unreachable(cause):
            return ModelError(
                neither(name, f"the {what} is not in the hub's cache and the hub cannot be reached"),
                where=name,
                remedy="connect to the internet once to download it, or give the path of a folder that holds it",
            )
        if isinstance(cause, EntryNotFoundError):
            return ModelError(f"a file of the {what} is missing on the hub", where=name, remedy="choose another `revision`")
        if isinstance(cause, RepositoryNotFoundError | HFValidationError):
            return ModelError(
                neither(name, f"the {what} is not on the hub, or it is private"),
                where=name,
                remedy="check the name or path, or run `hf auth login`",
            )
        if isinstance(cause, SafetensorError):
            return ModelError(f"the {what}'s weights are damaged ({cause})", where=name, remedy="download them again")
    if "does not appear to have a file named model.safetensors" in str(error):
        return ModelError(
            f"the {what}'s weights on the hub are pickled, which lilift never loads",
            where=name,
            remedy="convert them at https://huggingface.co/spaces/safetensors/convert, then set `revision` to the pull "
            "request that it opens (refs/pr/N)",
        )
    for sign, unknown in _UNKNOWN_MODEL.items():
        if sign in str(error):
            remedy = "install a later version of transformers (`pip install -U transformers`), or choose another model"
            return ModelError(f"{unknown} (cannot load the {what})", where=name, remedy=remedy)
    if "trust_remote_code" in str(error):
        return ModelError(
            f"the {what} needs Python code of its own",
            where=name,
            remedy="read that code, then set llm.trust_remote_code to true",
        )
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return ModelError(f"the {what} does not fit into memory", where=name, remedy="see `lilift recipe plan`")
    return ModelError(f"cannot load the {what} ({_first_sentence(error)})", where=name, remedy="check that it is complete")


def cannot_be_reached(error: BaseException) -> bool:
    """Whether an error says that the hub cannot be reached, so that lilift knows nothing about the model."""
    return any(map(_is_unreachable, _causes(error)))


def _is_unreachable(cause: BaseException) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    known = isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError | TimeoutError)
    return known or type(cause).__module__.startswith("httpx")


def _stand_in(name: str) -> Path:
    kind = name.removeprefix(STAND_IN)
    root = Path(str(resources.files("lilift"))) / "stand_ins"
    known = ("encoder", "llm")
    if kind not in known:
        raise ModelError(f"lilift has no stand-in {name!r}", remedy=f"use {' or '.join(STAND_IN + kind for kind in known)}")
    check_model_folder(root / kind)
    return root / kind


def _shards(index: Path) -> set[str]:
    try:
        return {str(Path(shard)) for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelError("the index of the weights is damaged", where=index, remedy="download it again") from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("Validation error for field"):  # the reason follows its first colon
        return text[:200]
    return re.split(r"(?<=[.:;])\s", text, maxsplit=1)[0].rstrip(".:;")[:200]
