"""The files of a model that say what it is: configuration, tokenizer and the headers of its weights, never the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.export.safetensors_headers import QuantisedWeights, SafetensorsHeaders, element_bytes
from lilift.model.sources import cannot_be_reached, loading, model_folder_or_hub, require_configuration
from lilift.recipe.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
# The small files of a model on the hub. Tokenizers are the largest of them, up to 35 MB.
_SMALL = ("*.json", "*.model", "*.txt", "*.jinja")
_TOKENIZERS = ("tokenizer*", "*.model", "vocab.*")


@dataclass(frozen=True)
class ModelFiles:
    """A model's small files.

    Attributes:
        name: the model's name in the recipe.
        location: what transformers loads it from, a folder or a hub name.
        revision: commit, tag or branch on the hub.
        folder: holds config.json and the tokenizer's files.
        shapes: every tensor of the weights; None if only the hub knows them and it cannot be reached, or if they are quantised.
        unreadable: why the exporter cannot read the weights, if it cannot.
    """

    name: str
    location: str
    revision: str | None
    folder: Path
    shapes: Shapes | None
    unreadable: ModelError | None = None

    def require_readable(self) -> None:
        """Check that the exporter can read the weights.

        Raises:
            ModelError: they are damaged or already quantised.
        """
        if self.unreadable is not None:
            raise self.unreadable

    def require_whole(self) -> None:
        """Check that the weights are not damaged.

        Raises:
            ModelError: they are.
        """
        if self.unreadable is not None and not isinstance(self.unreadable, QuantisedWeights):
            raise self.unreadable


def model_files(name: str, revision: str | None, *, what: str) -> ModelFiles | None:
    """Find a model's small files; lilift downloads them if the model is on the hub and not in the cache.

    Args:
        name: the model's name in a recipe.
        revision: commit, tag or branch on the hub.
        what: the kind of model, for errors.

    Returns:
        None if the model is neither a folder nor in the cache, and the hub cannot be reached.

    Raises:
        ModelError: the folder is incomplete, the hub has no such model, or its weights there are pickled.
    """
    location = model_folder_or_hub(name)
    if Path(location).is_dir():
        return ModelFiles(name, location, revision, Path(location), *_readable(lambda: _shapes_on_disk(Path(location))))
    try:
        require_configuration(name, revision, what=what)  # one request; the download repeats its own for half a minute
        with loading(name, what=what):
            # Imported here, because the hub's client takes longer than the checks of a model in a folder.
            from huggingface_hub import snapshot_download

            folder = Path(snapshot_download(location, revision=revision, allow_patterns=list(_SMALL)))
    except ModelError as error:
        if cannot_be_reached(error):
            return None
        raise
    complete = (folder / "config.json").is_file() and any(found for pattern in _TOKENIZERS for found in folder.glob(pattern))
    if not complete:  # an earlier command has downloaded only a part, and the hub cannot be reached
        return None
    if any(folder.glob("*.safetensors")):
        return ModelFiles(name, location, revision, folder, *_readable(lambda: _shapes_on_disk(folder)))
    tensors = _tensors_on_hub(name, location, revision, what)
    return ModelFiles(name, location, revision, folder, *_readable(lambda: _checked_shapes(tensors, name)))


def _readable(shapes: Callable[[], Shapes | None]) -> tuple[Shapes | None, ModelError | None]:
    try:
        return shapes(), None
    except ModelError as error:
        return None, error


def _shapes_on_disk(folder: Path) -> Shapes:
    return SafetensorsHeaders(folder).shapes


def _tensors_on_hub(name: str, location: str, revision: str | None, what: str) -> dict[str, Any] | None:
    """The tensors of a model on the hub, each with `dtype` and `shape`; None if the hub cannot be reached.

    lilift downloads only the headers of its files.

    Raises:
        ModelError: the weights are pickled.
    """
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    try:
        with loading(name, what=what):
            found = get_safetensors_metadata(location, revision=revision)
    except NotASafetensorsRepoError:
        raise ModelError(
            f"the {what}'s weights on the hub are pickled, which lilift never loads",
            where=name,
            remedy="convert them at https://huggingface.co/spaces/safetensors/convert, then set `revision` to the pull "
            "request that it opens (refs/pr/N)",
        ) from None
    except ModelError as error:
        if cannot_be_reached(error):
            return None
        raise
    return {tensor: stored for file in found.files_metadata.values() for tensor, stored in file.tensors.items()}


def _checked_shapes(tensors: Mapping[str, Any] | None, name: str) -> Shapes | None:
    if tensors is None:
        return None
    for tensor, stored in tensors.items():
        element_bytes(tensor, stored.dtype, name)  # refuses quantised weights
    return {tensor: tuple(stored.shape) for tensor, stored in tensors.items()}
