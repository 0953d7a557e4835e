"""How to ask an LLM for the logits of the last position alone: all logits of a prompt are B * T * V numbers."""

from __future__ import annotations

import inspect

from transformers import PreTrainedModel


def last_logits_only(llm: PreTrainedModel) -> dict[str, int]:
    """The argument of the LLM's forward pass that leaves out the other positions; empty where the LLM does not know it."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(llm.forward).parameters else {}
