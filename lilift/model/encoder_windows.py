"""The means of neighbouring encoder states, from which `alignment.pool` makes soft tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def window_means(states: Tensor, mask: Tensor, state_rows: Tensor, windows: Tensor, *, count: int) -> Tensor:
    """The mean of each window of neighbouring states.

    The windows of a text are as equal as they can be: of n states, state i is in window floor(i * windows / n).

    Args:
        states: [B, S, E].
        mask: [B, S] bool, True on real states, which stand on the left.
        state_rows: [N_state] the real states, as indices into [B * S].
        windows: [B] how many windows each text has.
        count: N_soft, the windows of all texts. The caller knows it, so that no GPU has to be waited for.

    Returns:
        [N_soft, E] in the order of the texts, in the precision of the states.
    """
    lengths = mask.sum(1)  # [B]
    places = torch.arange(mask.shape[1], device=mask.device)[None] * windows[:, None] // lengths[:, None].clamp_min(1)  # [B, S]
    places += (windows.cumsum(0) - windows)[:, None]
    owners = places.flatten().index_select(0, state_rows)  # [N_state]
    real = states.flatten(0, 1).index_select(0, state_rows).float()  # [N_state, E]
    sums = real.new_zeros(count, real.shape[1]).index_add_(0, owners, real)
    sizes = real.new_zeros(count).index_add_(0, owners, real.new_ones(owners.shape[0]))
    means: Tensor = (sums / sizes[:, None]).to(states.dtype)
    return means
