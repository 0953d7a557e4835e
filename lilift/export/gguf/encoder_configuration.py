"""Checks that llama.cpp can run an encoder: the known architectures, and the settings that it has fixed values for.

`lilift recipe validate` checks every recipe's encoder here, so this module imports neither numpy nor the package `gguf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.recipe.errors import ModelError

ARCHITECTURES = (
    "T5EncoderModel",
    "T5ForConditionalGeneration",
    "T5Model",
    "MT5EncoderModel",
    "MT5ForConditionalGeneration",
    "MT5Model",
    "UMT5EncoderModel",
    "UMT5ForConditionalGeneration",
    "UMT5Model",
)
MAX_DISTANCE = 128  # the fixed value in llama.cpp
REMEDY = "export with --to hf, or train with a T5, mT5 or umT5 encoder"


def check_encoder(config: Mapping[str, Any], folder: Path) -> None:
    """Check that llama.cpp's `t5encoder` computes the same as this encoder.

    Raises:
        ModelError: it does not; the message names the setting.
    """
    architecture = next(iter(config.get("architectures") or []), config.get("model_type", "?"))
    if architecture not in ARCHITECTURES:
        raise ModelError(f"lilift cannot write {architecture} encoders as GGUF", where=folder, remedy=REMEDY)
    activation = config.get("feed_forward_proj", "relu")
    if activation not in ("relu", "gated-gelu"):
        raise ModelError(f"llama.cpp does not support the feed_forward_proj {activation!r}", where=folder, remedy=REMEDY)
    distance = config.get("relative_attention_max_distance", MAX_DISTANCE)
    if distance != MAX_DISTANCE:
        raise ModelError(
            f"the encoder's relative_attention_max_distance is {distance}, and llama.cpp only supports {MAX_DISTANCE}",
            where=folder,
            remedy=REMEDY,
        )
