"""The metrics of a stage: one JSON object per line, every few steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lilift.train.step import StepOutcome


@dataclass
class Window:
    """Sums since the last line of metrics. A checkpoint holds them, so that a resumed run writes the same lines.

    Attributes:
        loss_sum: cross-entropy summed over tokens, in nats.
        loss_tokens: tokens that carried loss.
        grad_norm_sum: gradient norms before clipping, summed over steps.
        steps: optimizer steps.
        tokens: real positions.
        seconds: training time.
    """

    loss_sum: float = 0.0
    loss_tokens: int = 0
    grad_norm_sum: float = 0.0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def add(self, outcome: StepOutcome, seconds: float) -> None:
        """Count one step."""
        self.loss_sum += outcome.loss * outcome.loss_tokens
        self.loss_tokens += outcome.loss_tokens
        self.grad_norm_sum += outcome.grad_norm
        self.steps += 1
        self.tokens += outcome.tokens
        self.seconds += seconds


@dataclass
class Totals:
    """Sums since the stage began. A checkpoint holds them.

    Attributes:
        step: optimizer steps.
        tokens: real positions.
        loss_tokens: tokens that carried loss.
        seconds: training time, without the pauses between an interruption and its resumption.
        peak_memory_mib: highest memory in use so far.
    """

    step: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    seconds: float = 0.0
    peak_memory_mib: float = 0.0

    def add(self, outcome: StepOutcome, seconds: float, peak_memory_mib: float) -> None:
        """Count one step."""
        self.step += 1
        self.tokens += outcome.tokens
        self.loss_tokens += outcome.loss_tokens
        self.seconds += seconds
        self.peak_memory_mib = max(self.peak_memory_mib, peak_memory_mib)


@dataclass(frozen=True)
class MetricsLine:
    """One line of `metrics.jsonl`: means since the previous line, and totals.

    Attributes:
        step: optimizer steps since the stage began.
        epoch: the last step's pass over the data, from 1.
        loss: mean cross-entropy of the tokens that carried loss since the previous line, in nats.
        learning_rate: of the last step.
        grad_norm: mean norm of the gradient before clipping since the previous line.
        tokens: real positions since the stage began.
        tokens_per_second: since the previous line.
        memory_mib: peak memory so far.
        seconds: training time since the stage began.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    tokens_per_second: float
    memory_mib: float
    seconds: float

    @classmethod
    def of(cls, window: Window, totals: Totals, *, epoch: int, learning_rate: float) -> MetricsLine:
        """The line for the steps that `window` counted."""
        return cls(
            step=totals.step,
            epoch=epoch,
            loss=window.loss_sum / window.loss_tokens,
            learning_rate=learning_rate,
            grad_norm=window.grad_norm_sum / window.steps,
            tokens=totals.tokens,
            tokens_per_second=round(window.tokens / max(window.seconds, 1e-9), 1),
            memory_mib=totals.peak_memory_mib,
            seconds=round(totals.seconds, 3),
        )

    def as_dict(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return asdict(self)
