"""Measures how much merged weights and GGUF files differ from the live model that was trained.

Both models read the same inputs from the bridge, so the encoder and the alignment layer add nothing to the difference. To save
memory, the layers of the live model compute with the other weights, and each layer reads its weights only when it runs. So two
models are never in memory at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from lilift.data.texts.examples import Row
from lilift.export.merge import MergedWeights
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.bridge import BridgedModel
from lilift.model.llms.output_head import OutputHead, backbone_of, find_output_head

MAX_TOKENS = 1024  # tokens to compare; the logits of both models for them are kept in memory


@dataclass(frozen=True)
class Drift:
    """How one set of weights differs from the live model, over the response tokens of some rows.

    Attributes:
        name: the name of the compared weights, such as ``dequantised``.
        loss: mean cross-entropy of these weights, in nats.
        live_loss: mean cross-entropy of the live model, in nats.
        divergence: mean Kullback-Leibler divergence from the live model, in nats.
        agreement: share of positions at which both models find the same token most likely.
        tokens: number of compared tokens.
    """

    name: str
    loss: float
    live_loss: float
    divergence: float
    agreement: float
    tokens: int

    def line(self) -> str:
        return (
            f"drift of {self.name}: loss {self.loss:.4f} (live {self.live_loss:.4f}), KL {self.divergence:.2g}, "
            f"same first choice {self.agreement:.1%} of {self.tokens} tokens"
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """Weights that replace those of the live model for a comparison.

    Attributes:
        name: the name that the user knows.
        weights: the names of the replaced weights, as in the model's files; all others stay those of the live model.
        read: reads one of them, [out, in].
    """

    name: str
    weights: Set[str]
    read: Callable[[str], Tensor]

    @classmethod
    def merged(cls, name: str, merged: MergedWeights, dtype: str) -> Candidate:
        """Merged weights, rounded to the precision in which they are stored."""

        def read(weight: str) -> Tensor:
            found = torch.from_numpy(np.concatenate(list(merged.chunks(weight)))).to(getattr(torch, dtype))
            return found.T if weight in merged.transposed else found

        return cls(name, merged.changed, read)

    @classmethod
    def gguf(cls, path: Path, base: Path) -> Candidate:
        """The weights in a GGUF file of the LLM, converted back to the form of the model's layers."""
        from lilift.export.gguf.llm_gguf import StoredLLM

        stored = StoredLLM(path, base)
        return cls(path.name, stored.names.keys(), lambda weight: torch.from_numpy(stored.weight(weight)))


@torch.no_grad()
def measure_drift(
    bridge: BridgedModel, rows: Sequence[Row], candidates: Sequence[Candidate], *, note: Callable[[str], None] = lambda _: None
) -> list[Drift]:
    """Compare merged weights with the live model on some texts; if memory runs out, continue in smaller batches.

    Args:
        bridge: the live model with its adapter.
        rows: rows with responses; as many as `MAX_TOKENS` allows are used, at least one.
        candidates: the weights to compare.
        note: receives a line to print each time memory runs out.
    """
    rows = _within(rows)
    labels = torch.tensor([token for row in rows for token in row.response_ids])
    guard = OutOfMemoryGuard(note)
    head = find_output_head(bridge.causal_lm)
    live = _log_probabilities(bridge, head, rows, guard)
    found = []
    for candidate in candidates:
        with computing_with(bridge.causal_lm, candidate):
            found.append(_compared(candidate.name, _log_probabilities(bridge, head, rows, guard), live, labels))
    return found


@contextmanager
def computing_with(llm: nn.Module, candidate: Candidate) -> Iterator[None]:
    """Let the linear layers of an LLM compute with other weights, read at each call; adapters have no effect meanwhile."""
    changed = []
    for name, layer in _linear_layers(llm):
        if f"{name}.weight" in candidate.weights:
            layer.forward = _linear_with(layer, f"{name}.weight", candidate.read)
            changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward  # the method of the class is in use again


def _linear_layers(llm: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers, with or without an adapter, under the names that they have without one."""
    inside: tuple[str, ...] = ()
    for name, module in llm.named_modules():
        if inside and name.startswith(inside):
            continue
        if isinstance(getattr(module, "base_layer", module), nn.Linear | Conv1D):
            inside = (f"{name}.",)
            yield name, module


def _linear_with(layer: Any, name: str, read: Callable[[str], Tensor]) -> Callable[..., Tensor]:
    bias: Tensor | None = getattr(layer, "base_layer", layer).bias

    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return functional.linear(x, read(name).to(x), None if bias is None else bias.to(x))

    return forward


def _within(rows: Sequence[Row]) -> list[Row]:
    kept: list[Row] = []
    tokens = 0
    for row in rows:
        tokens += len(row.response_ids)
        if kept and tokens > MAX_TOKENS:
            break
        kept.append(row)
    return kept


def _log_probabilities(bridge: BridgedModel, head: OutputHead | None, rows: Sequence[Row], guard: OutOfMemoryGuard) -> Tensor:
    """Log-probabilities [N, V] on the CPU, at the positions that predict the tokens of the responses, row after row."""

    def of(some: Sequence[Row]) -> Tensor:
        batch = bridge.collate(some).to(bridge.device)
        inputs, mask, positions = bridge.embed(batch)
        arguments = {"inputs_embeds": inputs, "attention_mask": mask.long(), "position_ids": positions, "use_cache": False}
        if head is None:
            logits = bridge.causal_lm(**arguments).logits.flatten(0, 1).index_select(0, batch.loss_rows)
        else:  # logits for every position of every text would take several GB
            hidden = backbone_of(bridge.causal_lm)(**arguments).last_hidden_state.flatten(0, 1)  # [B * T, D]
            logits = head.logits(hidden.index_select(0, batch.loss_rows))
        found: Tensor = logits.float().log_softmax(-1).cpu()
        return found

    return torch.cat(guard.run(rows, of, size=lambda some: len(some) * max(map(bridge.packed_length, some))))


def _compared(name: str, other: Tensor, live: Tensor, labels: Tensor) -> Drift:
    return Drift(
        name=name,
        loss=float(functional.nll_loss(other, labels)),
        live_loss=float(functional.nll_loss(live, labels)),
        # Rounding can make it slightly negative.
        divergence=max(0.0, float(functional.kl_div(other, live, reduction="batchmean", log_target=True))),
        agreement=float((other.argmax(-1) == live.argmax(-1)).float().mean()),
        tokens=len(labels),
    )
