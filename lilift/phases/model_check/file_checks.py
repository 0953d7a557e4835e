"""Checks models from their small files alone, without torch: can lilift answer with this LLM, and write both models as GGUF?

The checks are the exporter's and the decoder's own. So they refuse exactly what the later phase would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from lilift.export.gguf.encoder_gguf import check_encoder
from lilift.export.gguf.llm_configuration import LLMConfiguration
from lilift.export.gguf.sentencepiece_model import sentencepiece_of_encoder
from lilift.export.gguf.tokenizer_files import read_vocabulary
from lilift.export.llm_folder import read_config
from lilift.model.decoding.cached_layers import check_cached_layers
from lilift.phases.model_check.small_files import ModelFiles
from lilift.recipe.errors import LiliftError

Ability = Literal["trains", "answers", "merges", "gguf"]
"""What a run may need of a model: to train with it, to answer with it, to merge its adapter, and to write it as GGUF."""
Problems = dict[Ability, LiliftError]
"""The first error for each ability that a model lacks."""


def llm_file_problems(files: ModelFiles) -> Problems:
    """What an LLM's configuration, its tokenizer files and the headers of its weights say against it.

    Raises:
        ModelError: the configuration is missing or damaged.
    """
    config = read_config(files.folder)

    def writes() -> None:
        LLMConfiguration(config, files.folder)
        read_vocabulary(files.folder, config["vocab_size"])

    return found_by(
        {"answers": lambda: check_cached_layers(config, files.name), "merges": files.require_readable, "gguf": writes}
    )


def encoder_file_problems(files: ModelFiles) -> Problems:
    """What an encoder's configuration and the names of its files say against it."""
    config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))

    def writes() -> None:
        check_encoder(config, files.folder)
        sentencepiece_of_encoder(files.folder, files.name)
        files.require_readable()

    return found_by({"gguf": writes})


def found_by(checks: dict[Ability, Callable[[], None]]) -> Problems:
    """The errors that these checks raise, by ability."""
    problems: Problems = {}
    for ability, check in checks.items():
        try:
            check()
        except LiliftError as error:
            problems[ability] = error
    return problems
