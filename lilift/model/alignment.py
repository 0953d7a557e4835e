"""The language alignment layer: encoder states into soft tokens, vectors that stand among the LLM's token embeddings.

Kinds (LinguaLIFT, arXiv 2412.12499, and the baselines it is compared with):

- ``ffn``: Linear, GELU (exact), Linear, between two learned boundary vectors. The paper's own.
- ``linear``: one Linear and a learned vector after it, as in LangBridge (arXiv 2401.10695).
- ``latent``: a Perceiver resampler (arXiv 2204.14198): learned latents attend to the states, so that a text becomes the same
  number of soft tokens whatever its length.

The weights are kept in float32, since optimizer steps of 1e-4 are lost in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lilift.data.batching import Batch, SequenceShape
from lilift.model.seeding import seeded
from lilift.recipe.schema import AlignmentSettings
from lilift_kernels import project_into

LATENT_BLOCKS = 2
ATTENTION_HEADS = 8
HEAD_WIDTH = 64


class AlignmentLayer(nn.Module):
    """What every kind has in common. D is the LLM's width, E the encoder's.

    Attributes:
        bos, eos: learned vectors [D] before and after the soft tokens, or None.
    """

    bos: nn.Parameter | None
    eos: nn.Parameter | None
    latents: int | None = None

    def __init__(self, encoder_size: int, llm_size: int, *, has_bos: bool, has_eos: bool) -> None:
        super().__init__()
        self.encoder_size, self.llm_size = encoder_size, llm_size
        self.bos = nn.Parameter(torch.randn(llm_size)) if has_bos else None
        self.eos = nn.Parameter(torch.randn(llm_size)) if has_eos else None

    @property
    def shape(self) -> SequenceShape:
        """What this layer asks of a sequence; its boundary vectors count in mask and positions like any token."""
        return SequenceShape(has_bos=self.bos is not None, has_eos=self.eos is not None, latents=self.latents)

    def forward(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:
        """The soft tokens of a batch, without boundary vectors.

        Args:
            states: [B, S, E] encoder states.
            mask: [B, S] bool, True on real states.
            state_rows: [N_state] the real states, as indices into [B * S]; not needed by ``latent``.

        Returns:
            [N_soft, D]: one row per real state in their order, or B * latents rows.
        """
        raise NotImplementedError

    def write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """Write soft tokens and boundary vectors where the packed sequence wants them.

        Args:
            out: [B * T, D] input embeddings, changed in place.
            states: [B, S, E] encoder states.
            batch: says where.

        Returns:
            `out`, which carries the gradients.
        """
        raise NotImplementedError

    def start_at_size(self, states: Tensor, mask: Tensor, size: float) -> None:
        """Scale a fresh layer so that its soft tokens are as large as the LLM's embeddings.

        One measurement on real states, one factor on the last weights (the idea of layer-sequential unit-variance
        initialisation, arXiv 1511.06422). Encoders differ a hundredfold in the size of their states and LLMs in that of their
        embeddings; an input many times too large or too small drowns, or drowns in, what the LLM's first layers add to it.

        Args:
            states: [B, S, E] of some ordinary text; mask: [B, S].
            size: root mean square of an element of the LLM's input embeddings.
        """
        with torch.no_grad():
            soft = self(states, mask, mask.flatten().nonzero().squeeze(1))
            self._scale(size / float(soft.float().square().mean().sqrt()))
            for vector in (self.bos, self.eos):
                if vector is not None:
                    vector.mul_(size)

    def _scale(self, factor: float) -> None:
        raise NotImplementedError


class ProjectionLayer(AlignmentLayer):
    """Kinds ``ffn`` (with a hidden layer) and ``linear`` (without): each encoder state becomes one soft token."""

    def __init__(self, encoder_size: int, llm_size: int, *, hidden_size: int | None) -> None:
        super().__init__(encoder_size, llm_size, has_bos=hidden_size is not None, has_eos=True)
        self.hidden = nn.Linear(encoder_size, hidden_size) if hidden_size is not None else None
        self.output = nn.Linear(encoder_size if hidden_size is None else hidden_size, llm_size)

    def forward(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:  # noqa: ARG002
        """See `AlignmentLayer`."""
        out = self.output.weight.new_empty(state_rows.shape[0], self.llm_size)  # [N_state, D]
        slots = torch.arange(state_rows.shape[0], device=state_rows.device)
        return project_into(states, state_rows, slots, *self._weights(), out=out)

    def write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """See `AlignmentLayer`; nothing is concatenated and padding is never projected."""
        return project_into(
            states,
            batch.state_rows,
            batch.state_slots,
            *self._weights(),
            out=out,
            bos=self.bos,
            bos_slots=None if self.bos is None else batch.bos_slots,
            eos=self.eos,
            eos_slots=batch.eos_slots,
        )

    def _weights(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        if self.hidden is None:
            return self.output.weight, self.output.bias, None, None
        return self.hidden.weight, self.hidden.bias, self.output.weight, self.output.bias

    def _scale(self, factor: float) -> None:
        self.output.weight.mul_(factor)
        self.output.bias.mul_(factor)


class LatentLayer(AlignmentLayer):
    """Kind ``latent``: learned latents gather what a text says into a fixed number of soft tokens."""

    def __init__(self, encoder_size: int, llm_size: int, *, latents: int) -> None:
        super().__init__(encoder_size, llm_size, has_bos=False, has_eos=True)
        self.latents = latents
        self.queries = nn.Parameter(torch.randn(latents, encoder_size))
        self.blocks = nn.ModuleList(ResamplerBlock(encoder_size) for _ in range(LATENT_BLOCKS))
        self.output = nn.Linear(encoder_size, llm_size)
        self.norm = nn.LayerNorm(llm_size)

    def forward(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:  # noqa: ARG002
        """See `AlignmentLayer`."""
        states = states.to(self.queries.dtype)
        latents = self.queries.expand(states.shape[0], -1, -1)  # [B, L, E]
        for block in self.blocks:
            latents = block(latents, states, mask)
        soft: Tensor = self.norm(self.output(latents))  # [B, L, D]
        return soft.flatten(0, 1)

    def write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """See `AlignmentLayer`."""
        assert self.eos is not None
        soft = self(states, batch.encoder_mask, batch.state_rows)
        out = out.index_copy_(0, batch.state_slots, soft.to(out.dtype))
        return out.index_copy_(0, batch.eos_slots, self.eos.to(out.dtype).expand(batch.eos_slots.shape[0], -1))

    def _scale(self, factor: float) -> None:
        self.norm.weight.mul_(factor)


class ResamplerBlock(nn.Module):
    """Latents attend to the states and to one another, then pass a feed-forward layer; both with pre-normalisation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        width = ATTENTION_HEADS * HEAD_WIDTH
        self.norm_states, self.norm_latents = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query = nn.Linear(size, width, bias=False)
        self.key_value = nn.Linear(size, 2 * width, bias=False)
        self.attended = nn.Linear(width, size, bias=False)
        self.feed_forward = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, latents: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """latents [B, L, E], states [B, S, E], mask [B, S] to latents [B, L, E]."""
        normed = self.norm_latents(latents)
        seen = torch.cat([self.norm_states(states), normed], dim=1)  # [B, S + L, E]
        visible = torch.cat([mask, mask.new_ones(latents.shape[:2])], dim=1)  # [B, S + L]
        keys, values = (_heads(part) for part in self.key_value(seen).chunk(2, dim=-1))
        mixed = functional.scaled_dot_product_attention(
            _heads(self.query(normed)), keys, values, attn_mask=visible[:, None, None, :]
        )  # [B, heads, L, width]
        latents = latents + self.attended(mixed.transpose(1, 2).flatten(2))
        changed: Tensor = latents + self.feed_forward(latents)
        return changed


def _heads(vectors: Tensor) -> Tensor:
    """[B, N, heads * width] to [B, heads, N, width]."""
    return vectors.reshape(*vectors.shape[:2], ATTENTION_HEADS, HEAD_WIDTH).transpose(1, 2)


def build_alignment(settings: AlignmentSettings, *, encoder_size: int, llm_size: int, seed: int) -> AlignmentLayer:
    """A fresh alignment layer in float32 on the CPU; equal for equal seeds, whatever ran before."""
    with seeded(seed):
        if settings.kind == "latent":
            return LatentLayer(encoder_size, llm_size, latents=settings.latents)
        hidden_size = settings.expansion * encoder_size if settings.kind == "ffn" else None
        return ProjectionLayer(encoder_size, llm_size, hidden_size=hidden_size)
