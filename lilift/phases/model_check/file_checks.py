"""Checks models from their small files alone, without torch: can lilift answer with this LLM, and write both models as GGUF?

The checks are the exporter's and the decoder's own. So they refuse exactly what the later phase would refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from lilift.export.gguf.encoder_configuration import check_encoder
from lilift.export.gguf.llm_configuration import LLMConfiguration
from lilift.export.gguf.sentencepiece_model import sentencepiece_of_encoder
from lilift.export.gguf.tokenizer_files import read_vocabulary
from lilift.export.llm_folder import config_content, read_config
from lilift.model.decoding.cached_layers import check_cached_layers
from lilift.model.llms.untrainable_llms import check_can_quantise, check_no_embeddings_per_layer
from lilift.phases.model_check.small_files import ModelFiles
from lilift.recipe.errors import LiliftError, ModelError
from lilift.recipe.schema import LLMSettings

Ability = Literal["trains", "answers", "merges", "gguf"]
"""What a run may need of a model: to train with it, to answer with it, to merge its adapter, and to write it as GGUF."""
Problems = dict[Ability, LiliftError]
"""The first error for each ability that a model lacks."""


def llm_file_problems(files: ModelFiles, settings: LLMSettings) -> Problems:
    """What an LLM's configuration, its tokenizer files and the headers of its weights say against it.

    Args:
        files: the LLM's small files.
        settings: the recipe's section `llm`.

    Raises:
        ModelError: the configuration is missing or damaged.
    """
    config = read_config(files.folder)

    def trains() -> None:
        files.require_whole()
        check_no_embeddings_per_layer(config, files.name)
        if settings.quantization == "nf4":
            check_can_quantise(config, files.name)

    def writes() -> None:
        LLMConfiguration(config, files.folder)
        read_vocabulary(files.folder, config["vocab_size"])

    checks: dict[Ability, Callable[[], None]] = {
        "trains": trains,
        "answers": lambda: check_cached_layers(config, files.name),
        "merges": files.require_readable,
        "gguf": writes,
    }
    return found_by(checks, files)


def encoder_file_problems(files: ModelFiles) -> Problems:
    """What an encoder's configuration and the names of its files say against it.

    Raises:
        ModelError: the configuration is missing or damaged.
    """
    config = config_content(files.folder)

    def writes() -> None:
        check_encoder(config, files.folder)
        sentencepiece_of_encoder(files.folder, files.name)
        files.require_readable()

    return found_by({"trains": files.require_whole, "gguf": writes}, files)


def found_by(checks: dict[Ability, Callable[[], None]], files: ModelFiles) -> Problems:
    """The errors that these checks of a model's files raise, by ability.

    A setting of an unexpected type makes a check fail with an error of Python or of a library. The later phase would fail in
    the same way.
    """
    problems: Problems = {}
    for ability, check in checks.items():
        try:
            check()
        except LiliftError as error:
            problems[ability] = error
        except Exception as error:  # whatever a library raises about an unusual model is the reason that the user needs
            missing = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
            problems[ability] = ModelError(
                f"lilift cannot use the model's configuration or its tokenizer files ({missing})",
                where=files.name,
                remedy="compare them with the files that the model's authors publish",
            )
    return problems
