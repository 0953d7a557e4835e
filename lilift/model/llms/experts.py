"""Mixture-of-experts LLMs: which weights are experts, and which layers beside them a LoRA adapter can train.

transformers keeps all experts of a layer in one parameter with three dimensions. 4-bit loading does not reach such parameters,
and lilift does not train them: their adapters would be as large as a small model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from lilift.model.training_libraries import peft
from lilift.recipe.errors import RecipeError

ALL_LINEAR = "all-linear"
# Parts of a layer's name that tell that it belongs to the experts, or chooses among them.
_EXPERTS_OR_ROUTER = {"experts", "gate", "router"}


def expert_parameters(llm: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that hold the experts of an LLM, by name; empty for an LLM without experts."""
    return {
        f"{name}.{own}": parameter
        for name, module in llm.named_modules()
        if not isinstance(module, _ConvNd)
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 3
    }


def layers_to_adapt(llm: nn.Module, targets: str | Sequence[str]) -> str | list[str]:
    """The layers that a LoRA adapter trains, in the form of `target_modules`.

    For an LLM without experts, these are the targets themselves. With experts, they are its attention and the parts that every
    token passes through, never the experts or the router.

    Raises:
        RecipeError: the targets name nothing else than experts or the router.
    """
    if not expert_parameters(llm):
        return targets if isinstance(targets, str) else list(targets)
    wanted = None if targets == ALL_LINEAR else [targets] if isinstance(targets, str) else targets
    head = llm.get_output_embeddings()  # type: ignore[operator]  # every LLM of transformers has it
    found = [
        name
        for name, module in llm.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module is not head
        and not _EXPERTS_OR_ROUTER & set(name.split("."))
        and (wanted is None or any(name == one or name.endswith(f".{one}") or re.fullmatch(one, name) for one in wanted))
    ]
    if not found:
        raise RecipeError(
            "lilift does not train the experts or the router of a mixture-of-experts LLM, and no other layer has one of these "
            f"names: {', '.join(wanted or [ALL_LINEAR])}",
            where="transfer.lora.target_modules",
            remedy=f"write `{ALL_LINEAR}`, or names of layers of the attention",
        )
    return found


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """Keep peft from taking names of layers for experts.

    peft reads `gate_proj`, `up_proj` and `down_proj` in a mixture-of-experts model as names of experts in older versions of
    transformers, also where a shared part has a layer of this name.
    """
    patched: Any = peft.utils.transformers_weight_conversion
    convert = patched._convert_peft_config_moe
    patched._convert_peft_config_moe = lambda *_: None
    try:
        yield
    finally:
        patched._convert_peft_config_moe = convert
