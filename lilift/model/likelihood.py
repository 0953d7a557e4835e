"""How likely an LLM finds a few given continuations: answers that are chosen, not written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lilift.model.generation import Embedded


@torch.no_grad()
def log_likelihoods(
    llm: PreTrainedModel,
    lengths: Sequence[int],
    embed: Callable[[Sequence[int]], Embedded],
    continuations: Sequence[Sequence[int]],
    *,
    batch_tokens: int,
) -> list[list[float]]:
    """The logarithm of the probability of each continuation after each prompt, summed over its tokens.

    Args:
        llm: any causal LLM of transformers.
        lengths: each prompt's length in tokens.
        embed: gives some prompts, padded on the left; see `Continuer.run`.
        continuations: token ids, at least one each; the same for all prompts.
        batch_tokens: positions side by side, padding included; a prompt that is longer runs alone.

    Returns:
        For each prompt one value for each continuation.
    """
    found: list[list[float]] = [[] for _ in lengths]
    longest = max(len(ids) for ids in continuations)
    waiting = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while waiting:
        rows_at_once = max(1, batch_tokens // (lengths[waiting[0]] + longest))
        chosen, waiting = waiting[:rows_at_once], waiting[rows_at_once:]
        embedded = embed(chosen)
        columns = [_one_continuation(llm, embedded, ids) for ids in continuations]
        for row, values in zip(chosen, torch.stack(columns, dim=-1).tolist(), strict=True):
            found[row] = values
    return found


def _one_continuation(llm: PreTrainedModel, embedded: Embedded, ids: Sequence[int]) -> Tensor:
    """[B] in float32: the log-probability of one continuation after every prompt of a batch."""
    inputs, mask, positions = embedded  # [B, T, D], [B, T], [B, T]
    rows, count = len(inputs), len(ids)
    targets = torch.tensor(ids, device=inputs.device)  # [L]
    said = llm.get_input_embeddings()(targets[:-1]).expand(rows, -1, -1)  # [B, L-1, D]
    later = positions[:, -1:] + torch.arange(1, count, device=inputs.device)  # [B, L-1]
    keep = {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(llm.forward).parameters else {}
    logits = llm(
        inputs_embeds=torch.cat([inputs, said.to(inputs.dtype)], dim=1),
        attention_mask=torch.cat([mask, mask.new_ones(rows, count - 1)], dim=1).long(),
        position_ids=torch.cat([positions, later], dim=1),
        use_cache=False,
        **keep,
    ).logits[:, -count:]  # [B, L, V]
    chosen = torch.log_softmax(logits.float(), dim=-1).gather(-1, targets.expand(rows, -1).unsqueeze(-1))
    return chosen.squeeze(-1).sum(-1)
