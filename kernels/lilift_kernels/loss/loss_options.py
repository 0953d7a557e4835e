"""The options of the loss, which are the same for every implementation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossOptions:
    """The terms of one token's loss beside its hidden state, head and label.

    With ``z_j = softcap * tanh(logit_scale * (w_j . h + b_j) / softcap)`` (no tanh when ``softcap`` is None),
    ``lse = log sum_j exp z_j`` and label ``y`` the loss is ::

        (1 - label_smoothing) * (lse - z_y) + label_smoothing * (lse - mean_j z_j) + z_loss * lse ** 2

    ``softcap`` is that of Gemma 2 (arXiv 2408.00118, section 2), ``label_smoothing`` that of
    ``torch.nn.functional.cross_entropy``, ``z_loss`` that of PaLM (arXiv 2204.02311, section 5).
    """

    ignore_index: int = -100
    softcap: float | None = None
    logit_scale: float = 1.0
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        if self.softcap is not None and not self.softcap > 0:
            raise ValueError(f"softcap is {self.softcap}; it must be positive, or None for no cap")
        if not 0.0 <= self.label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must lie in 0..1")
        if not self.z_loss >= 0.0:
            raise ValueError(f"z_loss is {self.z_loss}; it must not be negative")

    @property
    def terms(self) -> tuple[int, float | None, float, float, float]:
        """The fields, in the form that operators of torch take; ``LossOptions(*terms)`` restores the object."""
        return self.ignore_index, self.softcap, self.logit_scale, self.label_smoothing, self.z_loss
