"""One vector for each text, the mean of its soft tokens. Such vectors show how close texts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lilift.model.bridge import BridgedModel


@torch.no_grad()
def pooled_soft_tokens(
    bridge: BridgedModel,
    texts: Sequence[str],
    *,
    languages: Sequence[str] | None = None,
    max_tokens: int | None = None,
    batch_tokens: int = 8192,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """The mean soft token of each text, without the boundary vectors, which are the same for all texts.

    Args:
        bridge: gives the encoder and the alignment layer; its LLM takes no part.
        texts: the texts to read, none of them empty.
        languages: the code of each text's language; None if they are not known.
        max_tokens: lilift cuts longer texts to this many encoder tokens.
        batch_tokens: encoder tokens in one batch, padding included.
        progress: receives the number of texts that are done, after each batch.

    Returns:
        [N, D] float32 on the CPU, in the order of the texts.
    """
    limit = max_tokens or bridge.encoder.max_positions
    known: Sequence[str | None] = languages or [None] * len(texts)
    readers = {code: bridge.encoder.tokenizer.in_language(code) for code in dict.fromkeys(known)}
    ids = [readers[code].encode(text, limit) for text, code in zip(texts, known, strict=True)]
    pooled = torch.empty(len(ids), bridge.alignment.llm_size)
    waiting = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    with bridge.encoder_on_card():
        while waiting:
            longest = len(ids[waiting[0]])
            count = max(1, batch_tokens // longest)
            chosen, waiting = waiting[:count], waiting[count:]
            pooled[chosen] = _pooled(bridge, [ids[row] for row in chosen], longest)
            if progress is not None:
                progress(len(ids) - len(waiting))
    return pooled


def _pooled(bridge: BridgedModel, ids: Sequence[Sequence[int]], longest: int) -> Tensor:
    padded = torch.full((len(ids), longest), bridge.encoder.tokenizer.pad_id)  # [B, S]
    mask = torch.zeros(len(ids), longest, dtype=torch.bool)
    for row, one in enumerate(ids):
        padded[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = True
    encoder = bridge.encoder
    states = encoder(padded.to(encoder.device), mask.to(encoder.device)).to(bridge.device)  # [B, S, E]
    mask = mask.to(bridge.device)
    soft = bridge.alignment(states, mask, mask.flatten().nonzero().squeeze(1)).float()  # [N_soft, D]
    shape = bridge.alignment.shape
    each = shape.windows(mask.sum(1)) if shape.latents is None else torch.full_like(mask[:, 0].long(), shape.latents)
    owner = torch.repeat_interleave(torch.arange(len(ids), device=soft.device), each)  # [N_soft]
    sums = soft.new_zeros(len(ids), soft.shape[1]).index_add_(0, owner, soft)
    means: Tensor = sums / each[:, None]
    return means.cpu()
