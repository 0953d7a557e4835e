"""Loads the model that `lilift eval` or `lilift chat` names: a run, an export, or a plain LLM.

llama.cpp runs exports with GGUF files. In that case lilift does not import torch.
"""

from __future__ import annotations

from pathlib import Path

from lilift.evaluate.evaluator import LIFTED
from lilift.model.sources import require_configuration
from lilift.phases.answering.answerer import DESCRIPTION, Answerer, AnswerOptions, refuse
from lilift.recipe import storage
from lilift.recipe.errors import RecipeError


def load_answerer(model: str, options: AnswerOptions, *, system: str = "lifted") -> Answerer:
    """Load the model that `lilift eval` or `lilift chat` names.

    Args:
        model: a run folder, an exported folder, a folder with a Hugging Face LLM, or the name of one on the hub.
        options: how it answers.
        system: the system of a run.

    Raises:
        RunFolderError: a run or an export is damaged, or its training is not finished.
        ModelError: a model cannot be found, loaded or used.
        RecipeError: an option does not fit the model.
        EnvironmentUnfit: a package that the model needs is not installed.
    """
    folder = Path(model).expanduser()
    if system != LIFTED.name and not (folder / "recipe.yaml").is_file():
        raise RecipeError(f"--system {system} needs a run, and {model} is not a run", remedy="leave it out")
    if has_gguf(folder) and options.quantization is None and options.dtype is None:
        from lilift.phases.answering.gguf_answerer import load_exported

        return load_exported(folder, options)
    refuse(options, ("gguf", "threads"), "it is only for the GGUF files of an export")
    if not folder.is_dir():
        require_configuration(model, what="LLM")  # a wrong name is reported before torch is imported
    from lilift.phases.answering.torch_answerer import load_with_torch

    return load_with_torch(model, options, system)


def has_gguf(folder: Path) -> bool:
    """Whether the folder is an export with GGUF files for llama.cpp."""
    if (folder / "recipe.yaml").is_file() or not (folder / DESCRIPTION).is_file():
        return False
    content = storage.read_json(folder / DESCRIPTION)
    llm = content.get("llm") if isinstance(content, dict) else None
    return isinstance(llm, dict) and "files" in llm


def computes_with(model: str) -> str:
    """What the model of `load_answerer` computes on if torch runs it: ``cuda`` or ``cpu``.

    Raises:
        RunFolderError: the recipe of a run is damaged.
    """
    from lilift.memory.device import find_device
    from lilift.phases.run_folder import recipe_of

    folder = Path(model).expanduser()
    if (folder / "recipe.yaml").is_file():
        return "cpu" if recipe_of(folder).card == "cpu" else "cuda"
    return find_device().kind
