"""Records the decoding steps of an LLM on a GPU as CUDA graphs, and replays them for later steps of the same shape.

A step of a few rows is a thousand small operations. Python starts them one by one and takes longer for that than the GPU for
the work. A CUDA graph starts all of them at once. It always reads and writes the same memory, so keys and values stay in one
place, a cache has one of few shapes, and the mask hides the rows and columns that are not in use.

Before the first graph is used, lilift compares its logits with those of an ordinary step. If an LLM cannot be recorded (some
read numbers from the GPU in the middle of a step) or its logits differ, lilift warns once and takes ordinary steps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lilift.model.decoding.key_value_cache import BLOCK, KeyValueCache
from lilift.model.decoding.last_logits import last_logits_only

_ROWS = 4  # above 8, the rows of a graph are a multiple of this
_LEAST_ROOM = 16  # columns that are free after a cache was rebuilt
_MOST_GRAPHS = 96
_ATTRIBUTE = "_lilift_step_graphs"
_MOST_DIFFERENCE = 0.1  # mean difference of logits, in standard deviations; a wrong mask makes about 1, roundings below 0.05


class StepGraphWarning(UserWarning):
    """lilift takes ordinary steps, because it cannot record those of this LLM."""


class StepInputs:
    """What a step of R rows and W columns reads, always in the same memory.

    Attributes:
        ids, positions: [R, 1].
        mask: [R, W] bool, True on the columns that a row reads.
        column: [1], the column that the step writes.
    """

    def __init__(self, rows: int, width: int, device: torch.device) -> None:
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.mask = torch.zeros(rows, width, dtype=torch.bool, device=device)
        self.column = torch.zeros(1, dtype=torch.long, device=device)

    def fill(self, ids: Tensor, positions: Tensor, mask: Tensor) -> None:
        """Take over the inputs [B, 1], [B, 1] and [B, C] of B rows whose last column is the new one."""
        rows, columns = mask.shape
        self.ids[:rows].copy_(ids)
        self.positions[:rows].copy_(positions)
        self.mask.zero_()
        self.mask[:rows, :columns].copy_(mask)
        self.mask[rows:, 0] = True  # softmax over no column at all is NaN
        self.column.fill_(columns - 1)


@dataclass(frozen=True)
class _Graph:
    inputs: StepInputs
    graph: torch.cuda.CUDAGraph
    logits: Tensor  # [R, V]


class StepGraphs:
    """Graphs of one LLM by shape, and the memory for its keys and values (see `key_value_cache.FixedMemory`).

    Args:
        llm: the LLM.
    """

    def __init__(self, llm: PreTrainedModel) -> None:
        self._llm = llm
        self._memory: dict[tuple[int, str], Tensor] = {}
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._pool: Any = None
        self._checked = False
        self._weights: tuple[int, ...] = ()
        self.recorded = 0
        """How many graphs were recorded so far."""
        self.refused = ""
        """Why this LLM's steps cannot be recorded; empty while they can."""
        if self._llm.config.get_text_config()._attn_implementation not in ("sdpa", "eager"):
            self.refused = "its attention is not torch's own"

    def begin(self) -> None:
        """Begin a series of steps. If the LLM's weights have moved since the last one, all graphs are recorded anew."""
        weights = tuple(parameter.data_ptr() for parameter in self._llm.parameters())
        if weights != self._weights:
            self._graphs.clear()
            self._weights = weights

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """See `FixedMemory.shape`. Few shapes, so that graphs are used again."""
        rows = 1 << (rows - 1).bit_length() if rows <= 2 * _ROWS else -(-rows // _ROWS) * _ROWS
        return rows, -(-(columns + _LEAST_ROOM) // BLOCK) * BLOCK

    def tensor(self, name: tuple[int, str], like: Tensor, rows: int, width: int) -> Tensor:
        """See `FixedMemory.tensor`."""
        shape = rows, like.shape[1], width, like.shape[3]
        size = rows * width * like.shape[1] * like.shape[3]
        held = self._memory.get(name)
        if held is None or held.numel() < size or held.dtype != like.dtype:
            self._graphs.clear()  # they know the old place
            held = self._memory[name] = like.new_zeros(size)
        return held[:size].view(shape)

    def step(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: KeyValueCache) -> Tensor | None:
        """Logits [B, V] of one more token for B rows; None if this step must be an ordinary one.

        Args:
            ids, positions: [B, 1].
            mask: [B, C] bool; its last column is the new one.
            cache: keys and values of the other columns, in this object's memory. It has the new column afterwards.
        """
        rows, columns = mask.shape
        shape = cache.shape
        if self.refused or columns > shape[1] or cache.layers[0].keys.data_ptr() != self._place():
            return None
        known = self._graphs.get(shape)
        if known is None:
            known = self._record(shape, ids, positions, mask, cache)
            if known is None:
                return None
        known.inputs.fill(ids, positions, mask)
        known.graph.replay()
        cache.crop(columns)
        return known.logits[:rows]

    def _place(self) -> int:
        held = self._memory.get((0, "keys"))
        return -1 if held is None else held.data_ptr()

    def _record(
        self, shape: tuple[int, int], ids: Tensor, positions: Tensor, mask: Tensor, cache: KeyValueCache
    ) -> _Graph | None:
        inputs = StepInputs(*shape, ids.device)
        inputs.fill(ids, positions, mask)
        columns = mask.shape[1]
        try:
            expected = None if self._checked else self._ordinary(ids, positions, mask, cache)
            cache.crop(columns - 1)
            if len(self._graphs) >= _MOST_GRAPHS:
                self._graphs.clear()
            graph, logits = self._captured(inputs, cache)
            if expected is not None:
                graph.replay()
                self._compare(logits[: len(expected)], expected)
                self._checked = True
        except Exception as error:  # whatever a model's code does while it is recorded, it can still take ordinary steps
            cache.write_to(None)
            cache.crop(columns - 1)
            self._give_up(error)
            return None
        self.recorded += 1
        found = self._graphs[shape] = _Graph(inputs, graph, logits)
        return found

    def _captured(self, inputs: StepInputs, cache: KeyValueCache) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        cache.write_to(inputs.column)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries set themselves up in the first passes, which a graph must not contain
                static_logits(self._llm, inputs, cache)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = static_logits(self._llm, inputs, cache)
        cache.write_to(None)
        return graph, logits

    def _ordinary(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: KeyValueCache) -> Tensor:
        output = self._llm(
            input_ids=ids, position_ids=positions, attention_mask=mask.long(), past_key_values=cache, use_cache=True
        )
        logits: Tensor = output.logits[:, -1].clone()
        return logits

    def _compare(self, found: Tensor, expected: Tensor) -> None:
        difference = float((found.float() - expected.float()).abs().mean() / expected.float().std())
        if not difference <= _MOST_DIFFERENCE:  # also for NaN
            raise ValueError(f"the logits of a recorded step differ by {difference:.2g} standard deviations")

    def _give_up(self, error: Exception) -> None:
        # The end of a recording that failed raises an error of its own, after the model's.
        cause = error.__context__ or error
        self.refused = (str(cause).splitlines() or [""])[0] or type(cause).__name__
        self._graphs.clear()
        self._pool = None
        warnings.warn(
            f"lilift cannot record the decoding steps of this LLM as CUDA graphs ({self.refused}). It takes ordinary steps, "
            "which are slower; answers do not depend on this.",
            StepGraphWarning,
            stacklevel=2,
        )


def static_logits(llm: PreTrainedModel, inputs: StepInputs, cache: KeyValueCache) -> Tensor:
    """Logits [R, V] of a step that reads all columns of a cache; `cache.write_to` has told it where to write.

    It reads no number from the device, and its tensors have the same shapes at every step.
    """
    output = llm(
        input_ids=inputs.ids,
        position_ids=inputs.positions,
        attention_mask=_masks(llm, inputs),
        past_key_values=cache,
        use_cache=True,
        **last_logits_only(llm),
    )
    logits: Tensor = output.logits[:, -1]
    return logits


def _masks(llm: PreTrainedModel, inputs: StepInputs) -> Tensor | dict[str, Tensor]:
    """The masks of a step in the form that transformers passes to attention layers: [R, 1, 1, W], one by kind of layer."""
    config: Any = llm.config.get_text_config()
    window: Any = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention" if window is None else "sliding_attention"])
    found = {}
    for kind in kinds:
        mask = inputs.mask
        if kind == "sliding_attention":
            columns = torch.arange(mask.shape[1], device=mask.device)
            mask = mask & (columns > inputs.column - window)
        mask = mask[:, None, None]
        if config._attn_implementation == "eager":  # it adds the mask to its scores
            mask = torch.zeros_like(mask, dtype=llm.dtype).masked_fill(~mask, torch.finfo(llm.dtype).min)
        found[kind] = mask
    return found if len(found) > 1 else found.popitem()[1]


def step_graphs_of(llm: PreTrainedModel) -> StepGraphs | None:
    """The graphs of an LLM, which it keeps from one series of answers to the next; None if it is not on a GPU."""
    if llm.device.type != "cuda":
        return None
    found: StepGraphs | None = llm.__dict__.get(_ATTRIBUTE)
    if found is None:
        found = llm.__dict__[_ATTRIBUTE] = StepGraphs(llm)
    return None if found.refused else found


def forget_step_graphs(llm: nn.Module) -> None:
    """Free the graphs of an LLM and their memory."""
    llm.__dict__.pop(_ATTRIBUTE, None)
