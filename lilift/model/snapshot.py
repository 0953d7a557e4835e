"""The folder that holds a model's files on this machine."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from lilift.model.sources import loading, model_folder_or_hub

# The files of a model folder that lilift downloads: weights, configuration, tokenizer, licence. Never pickled weights.
_WANTED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.md", "LICENSE*")


def local_model_folder(name: str, revision: str | None) -> Path:
    """The folder of a model. lilift downloads the model first if it is on the hub and not in the cache.

    Raises:
        ModelError: lilift cannot find or download it.
    """
    location = model_folder_or_hub(name)
    if Path(location).is_dir():
        return Path(location)
    with loading(name, what="model"):
        return Path(snapshot_download(location, revision=revision, allow_patterns=list(_WANTED)))
