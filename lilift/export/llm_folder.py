"""Reads the configuration and weights of an LLM from its folder, also from multimodal checkpoints that hold more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.recipe.errors import ModelError

if TYPE_CHECKING:
    from lilift.export.safetensors_rows import SafetensorsFolder

# `language_model.model.layers…` in most files, `model.language_model.layers…` in some.
_INSIDE_MULTIMODAL = re.compile(r"^(?:model\.)?language_model\.(?:model\.)?(?P<inner>.+)$")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder's LLM; for a multimodal checkpoint (Gemma 3 from 4B), of the LLM inside it.

    Raises:
        ModelError: the configuration is missing or damaged.
    """
    found = config_content(folder)
    return _text_part(folder) or found if "text_config" in found else found


def config_content(folder: Path) -> dict[str, Any]:
    """The content of a model's `config.json`.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no settings")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"lilift cannot read the model's config.json ({error})", where=folder, remedy="download the model again"
        ) from None
    return found


def _text_part(folder: Path) -> dict[str, Any] | None:
    """The configuration of the LLM inside a multimodal one, or None if there is no inner LLM.

    It is written out in full, because such files leave out all default values.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    from lilift.model.llms.llm import text_part
    from lilift.model.sources import loading

    with loading(str(folder), what="LLM's configuration"):
        whole = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    text = text_part(whole)
    if text is whole:
        return None
    content: dict[str, Any] = json.loads(text.to_json_string(use_diff=False))
    return content | {"architectures": [MODEL_FOR_CAUSAL_LM_MAPPING[type(text)].__name__]}


def llm_weights(folder: Path) -> SafetensorsFolder:
    """The weights of an LLM, under the names that they have in a checkpoint of the LLM alone.

    A multimodal checkpoint (Gemma 3 from 4B) has other names for them. Its vision tower is left out.

    Raises:
        ModelError: see `SafetensorsFolder`.
    """
    from lilift.export.safetensors_rows import SafetensorsFolder  # the configuration alone needs no numpy

    weights = SafetensorsFolder(folder)
    weights.tensors = {own: weights.tensors[name] for name, own in names_in_llm(weights.tensors).items()}
    return weights


def names_in_llm(names: Iterable[str]) -> dict[str, str]:
    """The names of a checkpoint's tensors in its LLM; tensors of other parts are left out."""
    names = list(names)
    if not any(map(_INSIDE_MULTIMODAL.match, names)):
        return {name: name for name in names}
    return {name: own for name in names if (own := _own_name(name))}


def _own_name(name: str) -> str:
    """The name of a multimodal checkpoint's tensor in its LLM; empty if the tensor is not part of the LLM."""
    found = _INSIDE_MULTIMODAL.match(name)
    inner = found["inner"] if found else name
    if inner.startswith("lm_head."):
        return inner
    return f"model.{inner}" if found else ""
