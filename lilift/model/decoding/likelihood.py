"""How likely given continuations are for an LLM, to choose among answers instead of writing one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lilift.model.decoding.generation import Embedded, check_keeps_keys_and_values
from lilift.model.decoding.key_value_cache import KeyValueCache
from lilift.model.decoding.last_logits import last_logits_only

MOST_LOGITS = 1 << 26
"""Logits of continuations at the same time: 128 MiB in 16 bits. Those of a whole batch can take gigabytes."""


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is after its prompt.

    Attributes:
        log_probability: natural logarithm of its probability, summed over its tokens.
        greedy: whether each of its tokens is the likeliest at its place, so that greedy generation would write it.
    """

    log_probability: float
    greedy: bool


@torch.no_grad()
def log_likelihoods(
    llm: PreTrainedModel,
    lengths: Sequence[int],
    embed: Callable[[Sequence[int]], Embedded],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    batch_tokens: int,
) -> list[list[Likelihood]]:
    """How likely each prompt's continuations are. The LLM reads every prompt once, for all its continuations.

    Args:
        llm: any causal LLM of transformers that caches keys and values.
        lengths: each prompt's length in tokens.
        embed: gives the prompts whose indices it gets, padded on the left; see `Continuer.run`.
        continuations: for each prompt its continuations as token ids.
        batch_tokens: positions side by side, padding included; a longer prompt runs alone. Fewer rows run side by side if they
            would have more than `MOST_LOGITS`.

    Returns:
        For each prompt one value for each of its continuations. The batch does not change a value.

    Raises:
        ModelError: the LLM caches something other than keys and values.
    """
    check_keeps_keys_and_values(llm)
    found: list[list[Likelihood]] = [[] for _ in lengths]
    longest = max((len(ids) for asked in continuations for ids in asked), default=0)
    most_rows = MOST_LOGITS // (max(1, longest - 1) * llm.config.get_text_config().vocab_size)
    waiting = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while waiting:
        rows_at_once = max(1, min(most_rows, batch_tokens // (lengths[waiting[0]] + longest)))
        chosen, waiting = waiting[:rows_at_once], waiting[rows_at_once:]
        prompts = _ReadPrompts(llm, embed(chosen), room=longest)
        for place in range(max(len(continuations[row]) for row in chosen)):
            # A row that has fewer gets an empty one, and lilift ignores its value.
            ids = [continuations[row][place] if place < len(continuations[row]) else () for row in chosen]
            for row, value in zip(chosen, prompts.likelihoods(ids), strict=True):
                if place < len(continuations[row]):
                    found[row].append(value)
    return found


class _ReadPrompts:
    """B prompts that an LLM has read once and can continue many times.

    Args:
        llm: the LLM.
        embedded: the prompts, padded on the left to T columns.
        room: the longest continuation in tokens.
    """

    def __init__(self, llm: PreTrainedModel, embedded: Embedded, *, room: int) -> None:
        inputs, self._mask, self._positions = embedded  # [B, T, D], [B, T], [B, T]
        self._llm = llm
        self._cache = KeyValueCache()
        # Logits of the token after each prompt: [B, 1, V]
        self._next = self._read(self._mask, inputs_embeds=inputs, position_ids=self._positions, **last_logits_only(llm))[:, -1:]
        if room > 1:
            self._cache.rebuild(range(len(inputs)), inputs.shape[1], room=room)

    def likelihoods(self, ids: Sequence[Sequence[int]]) -> list[Likelihood]:
        """How likely each prompt's continuation is."""
        device, width = self._next.device, max(1, *map(len, ids))
        targets = torch.zeros(len(ids), width, dtype=torch.long)  # [B, L]
        for place, continuation in enumerate(ids):
            targets[place, : len(continuation)] = torch.tensor(continuation, dtype=torch.long)
        targets = targets.to(device)
        following = self._next[:, :0]  # [B, L-1, V]
        if width > 1:
            # The LLM also reads the padding after a shorter continuation; causal attention keeps it out of earlier places.
            later = self._positions[:, -1:] + torch.arange(1, width, device=device)  # [B, L-1]
            mask = torch.cat([self._mask, self._mask.new_ones(len(ids), width - 1)], dim=1)
            following = self._read(mask, input_ids=targets[:, :-1], position_ids=later)
            self._cache.crop(self._mask.shape[1])
        # One row after the other, because logits are large and float32 twice as large.
        return [
            _likelihood(torch.cat([self._next[place], following[place]])[: len(one)], targets[place, : len(one)])
            for place, one in enumerate(ids)
        ]

    def _read(self, mask: Tensor, **inputs: Tensor | int) -> Tensor:
        output = self._llm(**inputs, attention_mask=mask.long(), past_key_values=self._cache, use_cache=True)
        logits: Tensor = output.logits
        return logits


def _likelihood(logits: Tensor, targets: Tensor) -> Likelihood:
    """Of one continuation, from the logits [L, V] of its places and its tokens [L]."""
    chosen = torch.log_softmax(logits.float(), dim=-1).gather(-1, targets.unsqueeze(-1))
    return Likelihood(float(chosen.sum()), bool((logits.argmax(-1) == targets).all()))
