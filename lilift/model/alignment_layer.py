"""The language alignment layer turns encoder states into soft tokens: vectors that stand among the LLM's token embeddings.

Kinds (LinguaLIFT, arXiv 2412.12499, and the baselines it is compared with):

- ``ffn``: Linear, GELU (exact), Linear, between two learned boundary vectors. The paper's own.
- ``linear``: one Linear and a learned vector after it, as in LangBridge (arXiv 2401.10695).
  With `pool`, each soft token is made from the mean of a window of neighbouring states.
- ``latent``: a Perceiver resampler (arXiv 2204.14198). Learned latents attend to the states, so that every text becomes the
  same number of soft tokens, short or long.

The weights stay in float32, because bfloat16 loses optimizer steps of 1e-4.

Beyond the paper, `normalized` layers give every vector the size of the LLM's own embeddings. Without it the vectors grow while
the layer learns, to more than a hundred times that size (docs/tiny-cpu.md). What the LLM's layers add to such an input is
negligible beside it, so that the LLM no longer computes anything at these positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lilift.data.batches.batching import Batch, SequenceShape
from lilift.model.encoder_windows import window_means
from lilift.model.resampler_block import ResamplerBlock
from lilift.model.seeding import seeded
from lilift.recipe.schema import AlignmentSettings
from lilift_kernels import project_into

LATENT_BLOCKS = 2
SMALL = 1e-6
WHOLE_TEXT = 1 << 30
"""A window that is longer than any text."""
MIX_SPEED = 10.0
"""An optimizer step of Adam changes a parameter by at most about the learning rate. At 1e-3, 100 steps can thus change the
weight of a layer by a factor of e. Without this factor it would take 1,000 steps, which is all of a small run."""


class AlignmentLayer(nn.Module):
    """The common part of every kind. D is the LLM's width, E the encoder's.

    Attributes:
        bos, eos: learned vectors [D] before and after the soft tokens, or None.
        mix: learned logits [L + 1] of the encoder's layers and its token embeddings, divided by `MIX_SPEED`; None if the layer
            reads the last states.
        size: the root mean square of the elements of every vector that the layer gives, a scalar; None if the layer does not
            normalise them.
    """

    bos: nn.Parameter | None
    eos: nn.Parameter | None
    mix: nn.Parameter | None
    size: Tensor | None
    latents: int | None = None
    pool: int = 1
    scales_states: bool = False

    def __init__(self, encoder_size: int, llm_size: int, *, has_bos: bool, has_eos: bool, normalized: bool) -> None:
        super().__init__()
        self.encoder_size, self.llm_size = encoder_size, llm_size
        self.register_buffer("size", torch.ones(()) if normalized else None)
        self.bos = nn.Parameter(torch.randn(llm_size)) if has_bos else None
        self.eos = nn.Parameter(torch.randn(llm_size)) if has_eos else None
        self.register_parameter("mix", None)

    @property
    def shape(self) -> SequenceShape:
        """The places that this layer takes in a sequence; its boundary vectors count in mask and positions like any token."""
        return SequenceShape(self.bos is not None, self.eos is not None, self.latents, self.pool)

    def forward(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:
        """The soft tokens of a batch, without boundary vectors.

        Args:
            states: [B, S, E] encoder states, or [B, S, L + 1, E] with `mix`.
            mask: [B, S] bool, True on real states.
            state_rows: [N_state] the real states, as indices into [B * S]; ``latent`` does not need them.

        Returns:
            [N_soft, D]: one row per window of real states in their order, or B * latents rows.
        """
        return self._sized(self._project(self._mixed(states), mask, state_rows))

    def write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """Write soft tokens and boundary vectors into their places of the packed sequence.

        Args:
            out: [B * T, D] input embeddings, changed in place.
            states: [B, S, E] encoder states, or [B, S, L + 1, E] with `mix`.
            batch: holds the places.

        Returns:
            `out`, which carries the gradients to the layer.
        """
        out = self._write_into(out, self._mixed(states), batch)
        if self.size is None:
            return out
        boundaries = ((self.bos, batch.bos_slots), (self.eos, batch.eos_slots))
        slots = torch.cat([batch.state_slots, *(slots for vector, slots in boundaries if vector is not None)])
        return out.index_copy_(0, slots, self._sized(out.index_select(0, slots)))

    def start_at_size(self, states: Tensor, mask: Tensor, size: float) -> None:
        """Scale a fresh layer so that its soft tokens are as large as the LLM's embeddings.

        It takes one measurement on real states and one factor on the last weights (the idea of layer-sequential unit-variance
        initialisation, arXiv 1511.06422). Encoder states differ in size by a factor of a hundred from encoder to encoder, and
        embeddings from LLM to LLM. An input that is many times too large hides what the LLM's first layers add to it. An input
        that is many times too small is lost in it.

        Args:
            states: [B, S, E] of an ordinary text, or [B, S, L + 1, E] with `mix`.
            mask: [B, S] bool, True on real states.
            size: root mean square of the elements of the LLM's input embeddings.
        """
        with torch.no_grad():
            if self.size is not None:
                self.size.fill_(size)
                size = 1.0  # before the normalisation, so that an optimizer step means the same for any LLM
            soft = self._project(self._mixed(states), mask, mask.flatten().nonzero().squeeze(1))
            self._scale(size / float(soft.float().square().mean().sqrt()))
            for vector in (self.bos, self.eos):
                if vector is not None:
                    vector.mul_(size)

    def _mixed(self, states: Tensor) -> Tensor:
        """States [B, S, E] as the layer reads them: mixed with `mix`, of size 1 with `scales_states`.

        With `mix`, they are the weighted mean of [B, S, L + 1, E], as in ELMo (arXiv 1802.05365). The encoder scales the states
        of each layer to the same size. ELMo's factor for the whole is the layer's own weights.
        """
        if self.mix is not None:
            states = self.mixing_weights.to(states.dtype) @ states
        if self.scales_states:
            states = functional.rms_norm(states.float(), (self.encoder_size,), eps=SMALL).to(states.dtype)
        return states

    @property
    def mixing_weights(self) -> Tensor:
        """The weights [L + 1] of the token embeddings and of each of the encoder's layers, which add up to 1.

        Raises:
            ValueError: the layer reads the last states.
        """
        if self.mix is None:
            raise ValueError("the layer reads the last states")
        return (MIX_SPEED * self.mix).softmax(0)

    def _sized(self, vectors: Tensor) -> Tensor:
        """Vectors [N, D], normalised to `size` if the layer has one."""
        if self.size is None:
            return vectors
        return (functional.rms_norm(vectors.float(), (self.llm_size,), eps=SMALL) * self.size).to(vectors.dtype)

    def _project(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:
        """`forward` without normalisation."""
        raise NotImplementedError

    def _write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """`write_into` without normalisation."""
        raise NotImplementedError

    def _scale(self, factor: float) -> None:
        raise NotImplementedError


class AbsentLayer(AlignmentLayer):
    """Stands for the layer where a recipe has no encoder: it puts nothing before the prompt."""

    latents = 0

    def start_at_size(self, states: Tensor, mask: Tensor, size: float) -> None:
        """Do nothing: there is nothing to scale."""

    def _project(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:  # noqa: ARG002
        return states.new_empty(0, self.llm_size)

    def _write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        return out


class ProjectionLayer(AlignmentLayer):
    """Kinds ``ffn`` (with a hidden layer) and ``linear`` (without): each window of encoder states becomes one soft token.

    Args:
        encoder_size: E.
        llm_size: D.
        hidden_size: width of the hidden layer; None for ``linear``.
        pool: the largest number of states in a window; see `window_means`.
        normalized: see `AlignmentLayer`.
    """

    def __init__(self, encoder_size: int, llm_size: int, *, hidden_size: int | None, pool: int = 1, normalized: bool) -> None:
        super().__init__(encoder_size, llm_size, has_bos=hidden_size is not None, has_eos=True, normalized=normalized)
        self.pool = pool
        self.hidden = nn.Linear(encoder_size, hidden_size) if hidden_size is not None else None
        self.output = nn.Linear(encoder_size if hidden_size is None else hidden_size, llm_size)

    def _project(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:
        if self.pool > 1:
            states, state_rows = self._windows(states, mask, state_rows, int(self.shape.windows(mask.sum(1)).sum()))
        out = self.output.weight.new_empty(state_rows.shape[0], self.llm_size)  # [N_soft, D]
        slots = torch.arange(state_rows.shape[0], device=state_rows.device)
        return project_into(states, state_rows, slots, *self._weights(), out=out)

    def _write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        """One fused operation concatenates nothing and never projects padding."""
        state_rows = batch.state_rows
        if self.pool > 1:
            states, state_rows = self._windows(states, batch.encoder_mask, state_rows, batch.state_slots.shape[0])
        return project_into(
            states,
            state_rows,
            batch.state_slots,
            *self._weights(),
            out=out,
            bos=self.bos,
            bos_slots=None if self.bos is None else batch.bos_slots,
            eos=self.eos,
            eos_slots=batch.eos_slots,
        )

    def _windows(self, states: Tensor, mask: Tensor, state_rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The `window_means` [1, N_soft, E] of states, and their rows [N_soft]."""
        means = window_means(states, mask, state_rows, self.shape.windows(mask.sum(1)), count=count)
        return means[None], torch.arange(count, device=means.device)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        if self.hidden is None:
            return self.output.weight, self.output.bias, None, None
        return self.hidden.weight, self.hidden.bias, self.output.weight, self.output.bias

    def _scale(self, factor: float) -> None:
        self.output.weight.mul_(factor)
        self.output.bias.mul_(factor)


class LatentLayer(AlignmentLayer):
    """Kind ``latent``: learned latents gather the content of a text into a fixed number of soft tokens."""

    def __init__(self, encoder_size: int, llm_size: int, *, latents: int, normalized: bool) -> None:
        super().__init__(encoder_size, llm_size, has_bos=False, has_eos=True, normalized=normalized)
        self.latents = latents
        self.queries = nn.Parameter(torch.randn(latents, encoder_size))
        self.blocks = nn.ModuleList(ResamplerBlock(encoder_size) for _ in range(LATENT_BLOCKS))
        self.output = nn.Linear(encoder_size, llm_size)
        self.norm = nn.LayerNorm(llm_size)

    def _project(self, states: Tensor, mask: Tensor, state_rows: Tensor) -> Tensor:  # noqa: ARG002
        states = states.to(self.queries.dtype)
        latents = self.queries.expand(states.shape[0], -1, -1)  # [B, L, E]
        for block in self.blocks:
            latents = block(latents, states, mask)
        soft: Tensor = self.norm(self.output(latents))  # [B, L, D]
        return soft.flatten(0, 1)

    def _write_into(self, out: Tensor, states: Tensor, batch: Batch) -> Tensor:
        assert self.eos is not None
        soft = self._project(states, batch.encoder_mask, batch.state_rows)
        out = out.index_copy_(0, batch.state_slots, soft.to(out.dtype))
        return out.index_copy_(0, batch.eos_slots, self.eos.to(out.dtype).expand(batch.eos_slots.shape[0], -1))

    def _scale(self, factor: float) -> None:
        self.norm.weight.mul_(factor)


def sequence_shape(settings: AlignmentSettings) -> SequenceShape:
    """`AlignmentLayer.shape` of the layer that these settings describe, without building it."""
    if settings.layout == "text":
        return SequenceShape(has_bos=False, has_eos=False, latents=0)
    latents = settings.latents if settings.kind == "latent" else None
    return SequenceShape(settings.kind == "ffn", True, latents, window_size(settings))


def window_size(settings: AlignmentSettings) -> int:
    """The largest number of encoder states behind one soft token."""
    if settings.kind == "latent":
        return 1
    return WHOLE_TEXT if settings.pool == "text" else settings.pool


def build_alignment(
    settings: AlignmentSettings, *, encoder_size: int, llm_size: int, seed: int, mixed_layers: int | None = None
) -> AlignmentLayer:
    """A fresh alignment layer in float32 on the CPU. The same seed always gives the same weights.

    Args:
        settings: the recipe's section `alignment`.
        encoder_size: E, the width of the encoder's states.
        llm_size: D, the width of the LLM.
        seed: of the initial weights.
        mixed_layers: `Encoder.mixed_layers`.
    """
    if settings.layout == "text":
        return AbsentLayer(encoder_size, llm_size, has_bos=False, has_eos=False, normalized=False)
    layer: AlignmentLayer
    with seeded(seed):
        if settings.kind == "latent":
            layer = LatentLayer(encoder_size, llm_size, latents=settings.latents, normalized=settings.normalize)
        else:
            hidden_size = settings.expansion * encoder_size if settings.kind == "ffn" else None
            layer = ProjectionLayer(
                encoder_size, llm_size, hidden_size=hidden_size, pool=window_size(settings), normalized=settings.normalize
            )
    layer.scales_states = settings.scale_states
    if mixed_layers is not None:
        # All layers begin with the same weight: a softmax that begins at one layer hardly gives the others a gradient.
        layer.mix = nn.Parameter(torch.zeros(mixed_layers))
    return layer
