"""unsloth in place of transformers for training the LLM: optional, experimental, only on NVIDIA GPUs.

The import of unsloth replaces forward passes of transformers' own classes, and its generation uses another kind of cache. So
only training uses unsloth, in a process where nothing else runs an LLM; `lilift.phases.run` takes care of that. The traps of
unsloth, and what lilift does about each:

- Training ignores the attention mask. lilift pads training batches only on the right, where causal attention sees no padding.
- unsloth silently cuts rows longer than `max_seq_length`. lilift gives it the length of the longest possible row.
- unsloth replaces model names by repositories of its own with other weights. lilift forbids it.
- For some families unsloth cuts off the gradient of the input embeddings. lilift checks it on a few tokens at loading.
- unsloth sends statistics unless a variable forbids it. lilift sets the variable before the import.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import metadata
from typing import Any

import torch
from packaging.requirements import InvalidRequirement, Requirement
from torch import nn
from transformers import PreTrainedModel

from lilift.model.sources import loading, model_folder_or_hub
from lilift.model.training_libraries import peft
from lilift.recipe.errors import EnvironmentUnfit, ModelError
from lilift.recipe.schema import LLMSettings, LoraSettings

STATISTICS_OFF = "UNSLOTH_DISABLE_STATISTICS"
_MARK, _CHECKPOINTS = "loaded_by_unsloth", "checkpoints_for_unsloth"
# unsloth allows only some versions of these packages; one of its extras names the versions.
CAPPED = ("transformers", "datasets", "peft", "torch")


def problem() -> str | None:
    """Why unsloth does not work here, in a few words; None if it works. Does not import it."""
    if importlib.util.find_spec("unsloth") is None:
        return "not installed"
    if not torch.cuda.is_available():
        return "it needs a CUDA GPU"
    for line in metadata.requires("unsloth") or []:
        try:
            requirement = Requirement(line)
            version = metadata.version(requirement.name)
        except (InvalidRequirement, metadata.PackageNotFoundError):
            continue
        wanted = requirement.name in CAPPED and "huggingfacenotorch" in str(requirement.marker or "")
        if wanted and not requirement.specifier.contains(version, prereleases=True):
            return f"it needs {requirement.name}{requirement.specifier}, and {version} is installed"
    return None


def load_for_training(settings: LLMSettings, *, longest: int, device: torch.device) -> PreTrainedModel:
    """Load the frozen 4-bit LLM of a recipe through unsloth.

    Args:
        settings: the recipe's section `llm`.
        longest: positions of the longest row.
        device: a CUDA GPU.

    Raises:
        EnvironmentUnfit: unsloth does not work here.
        ModelError: lilift cannot find, load or train through the LLM.
    """
    found = problem()
    if found is not None:
        raise EnvironmentUnfit(
            f"llm.backend is unsloth, and unsloth does not work here: {found}",
            remedy="set llm.backend to transformers, or see `lilift doctor`",
        )
    fast = _fast_language_model()
    with loading(settings.model, what="LLM"):
        llm, _ = fast.from_pretrained(
            model_name=model_folder_or_hub(settings.model),
            revision=settings.revision,
            max_seq_length=longest,
            dtype=getattr(torch, settings.dtype),
            load_in_4bit=settings.quantization == "nf4",
            load_in_16bit=settings.quantization == "none",
            device_map={"": device},
            use_gradient_checkpointing=bool(settings.gradient_checkpointing),
            trust_remote_code=settings.trust_remote_code,
            use_exact_model_name=True,
            fix_tokenizer=False,
        )
    llm.requires_grad_(False).eval()
    setattr(llm, _MARK, True)
    setattr(llm, _CHECKPOINTS, bool(settings.gradient_checkpointing))
    return llm


def trains(llm: PreTrainedModel) -> bool:
    """Whether `load_for_training` loaded this LLM."""
    return getattr(llm, _MARK, False)


def in_this_process() -> bool:
    """Whether unsloth has changed transformers in this process, so that nothing else may use an LLM."""
    return "unsloth" in sys.modules


def add_lora(llm: PreTrainedModel, settings: LoraSettings, *, seed: int) -> peft.PeftModel:
    """Add a LoRA adapter with unsloth's own forward and backward passes; see `lilift.model.llms.lora.add_lora`."""
    targets = settings.target_modules
    adapted: peft.PeftModel = _fast_language_model().get_peft_model(
        llm,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=linear_layers(llm) if targets == "all-linear" else targets,
        use_gradient_checkpointing=getattr(llm, _CHECKPOINTS),
        random_state=seed,
    )
    return adapted


def linear_layers(llm: PreTrainedModel) -> list[str]:
    """Names of the LLM's linear layers without its head, as peft understands ``all-linear``."""
    head = llm.get_output_embeddings()
    names = {name.rpartition(".")[2] for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    heads = {name.rpartition(".")[2] for name, module in llm.named_modules() if module is head}
    return sorted(names - heads)


def check_gradient_reaches_inputs(llm: PreTrainedModel, backbone: nn.Module, name: str) -> None:
    """Check that gradients reach the LLM's inputs, so that the alignment layer can learn.

    Raises:
        ModelError: they do not.
    """
    weight = llm.get_input_embeddings().weight
    leaf = weight[:4].detach().clone()[None].requires_grad_()  # [1, 4, D]
    llm.train()
    backbone(inputs_embeds=leaf * 1, use_cache=False).last_hidden_state.float().square().sum().backward()
    llm.eval()
    if leaf.grad is None or not bool(leaf.grad.abs().sum() > 0):
        raise ModelError(
            "unsloth cuts off the gradient of this LLM's inputs, so that the alignment layer cannot learn",
            where=name,
            remedy="set llm.backend to transformers",
        )


def _fast_language_model() -> Any:
    os.environ[STATISTICS_OFF] = "1"
    from unsloth import FastLanguageModel

    return FastLanguageModel
