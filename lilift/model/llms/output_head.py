"""How an LLM turns embeddings into hidden states and hidden states into logits; small trial runs of the model show it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lilift.recipe.errors import ModelError

PROBE_TOKENS = 5


@dataclass(frozen=True)
class OutputHead:
    """How hidden states become logits: ``softcap * tanh(scale * (W h + b) / softcap)``.

    Attributes:
        linear: W [V, D] and b.
        scale: a factor on the logits (Cohere, Granite).
        softcap: bounds the logits (Gemma 2); None for no bound.
    """

    linear: nn.Linear
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to [..., V]."""
        logits: Tensor = self.linear(hidden) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def backbone_of(llm: PreTrainedModel) -> nn.Module:
    """The decoder without its head, which gives hidden states. Its LoRA layers take part."""
    backbone: nn.Module = llm.get_decoder()
    return backbone


@torch.no_grad()
def check_reads_embeddings(llm: PreTrainedModel, name: str) -> None:
    """Check that the LLM accepts embeddings in place of token ids. A few models use the ids elsewhere too.

    Raises:
        ModelError: it does not.
    """
    ids = _probe_ids(llm)
    embeddings = llm.get_input_embeddings()(ids)
    by_id = llm(input_ids=ids, use_cache=False).logits
    by_embedding = llm(inputs_embeds=embeddings, use_cache=False).logits
    refused = ModelError("the LLM reads more than its input embeddings", where=name, remedy="choose another LLM")
    if not _close(by_id, by_embedding):
        raise refused
    try:  # some models look up which token an embedding belongs to, and soft tokens belong to none
        llm(inputs_embeds=embeddings * 0.75 + embeddings.roll(1, 1) * 0.25, use_cache=False)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise refused from error


@torch.no_grad()
def find_output_head(llm: PreTrainedModel) -> OutputHead | None:
    """The LLM's head if it is a plain linear layer with at most a scale and a soft cap, else None.

    Families differ (scaled, capped, normalised, adapted heads), and a wrong convention would silently train on a wrong loss.
    So lilift compares the head with the model's own logits on a few tokens.
    """
    linear = llm.get_output_embeddings()
    if type(linear) is not nn.Linear:
        return None
    embeddings = llm.get_input_embeddings()(_probe_ids(llm))  # [1, P, D]
    expected = llm(inputs_embeds=embeddings, use_cache=False).logits  # [1, P, V]
    hidden = backbone_of(llm)(inputs_embeds=embeddings, use_cache=False).last_hidden_state  # [1, P, D]
    if hidden.shape[-1] != linear.in_features:
        return None
    config = llm.config.get_text_config()
    softcap = getattr(config, "final_logit_softcapping", None)
    # Cohere multiplies its logits by `logit_scale`, Granite divides them by `logits_scaling`.
    factor, divisor = (float(getattr(config, name, None) or 1.0) for name in ("logit_scale", "logits_scaling"))
    for scale in sorted({1.0, factor, 1.0 / divisor}):
        head = OutputHead(linear, scale, softcap)
        if _close(head.logits(hidden), expected):
            return head
    return None


def _probe_ids(llm: PreTrainedModel) -> Tensor:
    """A few token ids, spread over the whole vocabulary, [1, P]."""
    embeddings = llm.get_input_embeddings()
    return torch.linspace(0, embeddings.num_embeddings - 1, PROBE_TOKENS, device=embeddings.weight.device).long()[None]


def _close(logits: Tensor, expected: Tensor) -> bool:
    """Whether logits are equal but for a few roundings of their precision, measured against the largest logit."""
    tolerance = 32 * torch.finfo(expected.dtype).eps * expected.abs().max().clamp_min(1e-3)
    return logits.shape == expected.shape and bool((logits - expected).abs().max() <= tolerance)
