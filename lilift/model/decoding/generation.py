"""One causal LLM generates for many rows side by side, and each row gets exactly the answer that it would get alone.

Answers differ in length, by a factor of ten between an easy problem and a hard one. A batch that waits for its slowest row
spends most of its time on rows that have ended. So here a row leaves when it ends, and a waiting row takes its place. A budget
of tokens, prompts and the longest possible responses together, sets how many rows run side by side. The longest rows come
first, so that neighbours have similar lengths and a batch that does not fit into memory fails at once.

transformers' own continuous batching accepts only token ids. A bridged model's rows begin with soft tokens, so lilift has its
own loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lilift.model.decoding.cached_layers import cannot_generate
from lilift.model.decoding.key_value_cache import KeyValueCache
from lilift.model.decoding.last_logits import last_logits_only
from lilift.model.decoding.sampling import Sampling, draw
from lilift.model.decoding.step_attention import step_attention
from lilift.model.decoding.step_graphs import step_graphs_of
from lilift.model.llms.llm_architecture import layers_without_keys

_REFILL_SHARE = 8  # refill places when one in this many is free, because a prompt pass for a single row uses the device poorly
_SHRINK_SHARE = 4  # when no row waits, drop rows that have ended once they are one in this many
PROMPT_TOKENS_ON_CPU = 1024  # a CPU reads this many positions of prompts at once, because more do not fit into its cache


@dataclass(frozen=True)
class Continuation:
    """The new tokens of a row.

    Attributes:
        row: the row's index.
        ids: its new tokens, without the stop token.
        ended: whether the LLM wrote a stop token; otherwise the response stops at the longest allowed length.
    """

    row: int
    ids: tuple[int, ...]
    ended: bool


@dataclass(frozen=True)
class Reply:
    """A continuation as text.

    Attributes:
        row: the row's index.
        text: without special tokens.
        tokens: the number of new tokens.
        ended: whether the LLM wrote a stop token; otherwise the response stops at the longest allowed length.
    """

    row: int
    text: str
    tokens: int
    ended: bool


Embedded = tuple[Tensor, Tensor, Tensor]
"""Rows padded on the left: inputs_embeds [B, T, D], mask [B, T] bool, position ids [B, T]."""


@dataclass
class _Place:
    """A row for which the LLM generates. `prompt` is its length in tokens; `left` says that its place is free."""

    row: int
    prompt: int
    draws: np.ndarray[Any, np.dtype[np.float64]] | None
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    left: bool = False

    @property
    def columns(self) -> int:
        """Columns of the cache that the row uses. The last chosen token is not in the cache yet."""
        return self.prompt + len(self.ids) - 1


class Continuer:
    """Generates responses with one LLM.

    Args:
        llm: any causal LLM of transformers that caches keys and values.
        stop: tokens that end a response.
        max_new_tokens: the longest response in tokens.
        budget: tokens of prompts and longest responses side by side; a longer row runs alone.
        most_rows: the largest number of rows side by side; None for no limit.
        sampling: how lilift draws tokens; None takes the likeliest.
        graphs: record the steps as CUDA graphs if the LLM is on a GPU.

    Raises:
        ModelError: the LLM caches something other than keys and values.
    """

    def __init__(
        self,
        llm: PreTrainedModel,
        *,
        stop: Sequence[int],
        max_new_tokens: int,
        budget: int,
        most_rows: int | None = None,
        sampling: Sampling | None = None,
        graphs: bool = True,
    ) -> None:
        check_keeps_keys_and_values(llm)
        self._llm = llm
        self._stop = frozenset(stop)
        self._filler = next(iter(stop))  # the input of rows that have ended; lilift ignores their output
        self._max_new_tokens = max_new_tokens
        self._budget = budget
        self._most_rows = most_rows
        self._sampling = sampling
        self._graphs = step_graphs_of(llm) if graphs else None
        self._last_only = last_logits_only(llm)

    @torch.no_grad()
    def run(
        self,
        lengths: Sequence[int],
        embed: Callable[[Sequence[int]], Embedded],
        *,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[Continuation]:
        """Generate for all rows, and yield each continuation as soon as it is complete.

        Args:
            lengths: each row's prompt length in tokens.
            embed: gives the prompts of the rows whose indices it gets.
            seeds: each row's own seed; needed with sampling.
        """
        if self._sampling is not None and seeds is None:
            raise ValueError("sampling needs a seed for every row")
        if self._graphs is not None:
            self._graphs.begin()
        waiting = deque(sorted(range(len(lengths)), key=lambda row: -lengths[row]))
        side_by_side: _SideBySide | None = None
        while waiting or side_by_side is not None:
            admitted = self._admit(waiting, lengths, side_by_side.living if side_by_side else [])
            if admitted:
                fresh = []
                for part in self._parts(admitted, lengths):
                    new = [_Place(row, lengths[row], self._draws(row, seeds)) for row in part]
                    fresh.append(self._prefill(embed(part), new))
                if side_by_side is None:
                    side_by_side = fresh.pop(0)
                if fresh:
                    side_by_side.rebuild(fresh)
            elif side_by_side is not None:
                ended = len(side_by_side.places) - len(side_by_side.living)
                if ended * _SHRINK_SHARE >= len(side_by_side.places) or not side_by_side.cache.room:
                    side_by_side.rebuild()
                self._step(side_by_side)
            if side_by_side is not None:
                for place in side_by_side.living:
                    if place.ended or len(place.ids) >= self._max_new_tokens:
                        place.left = True
                        yield Continuation(place.row, tuple(place.ids), place.ended)
                if not side_by_side.living:
                    side_by_side = None

    def _draws(self, row: int, seeds: Sequence[int] | None) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A row's random numbers, one for every token. They do not depend on the rows beside it."""
        if self._sampling is None or seeds is None:
            return None
        return np.random.default_rng((self._sampling.seed, seeds[row])).random(self._max_new_tokens)

    def _admit(self, waiting: deque[int], lengths: Sequence[int], living: Sequence[_Place]) -> list[int]:
        """The rows that begin now: as many as the budget allows, or none while too few places are free for a prompt pass."""
        if not waiting:
            return []
        # The longest prompt sets the width of all rows, and no row grows beyond it by more than the longest response.
        widest = max([lengths[waiting[0]], *(place.prompt for place in living)]) + self._max_new_tokens
        allowed = max(1, self._budget // widest)
        if self._most_rows is not None:
            allowed = min(allowed, self._most_rows)
        free = allowed - len(living)
        if free < min(len(waiting), max(1, allowed // _REFILL_SHARE)):
            return []
        return [waiting.popleft() for _ in range(min(free, len(waiting)))]

    def _parts(self, rows: list[int], lengths: Sequence[int]) -> list[list[int]]:
        """Rows whose prompts the LLM reads at once. Neighbours have similar lengths, so that there is little padding."""
        if self._llm.device.type != "cpu":
            return [rows]
        parts: list[list[int]] = [[]]
        for row in rows:  # the longest come first
            if parts[-1] and (len(parts[-1]) + 1) * lengths[parts[-1][0]] > PROMPT_TOKENS_ON_CPU:
                parts.append([])
            parts[-1].append(row)
        return parts

    def _prefill(self, embedded: Embedded, places: list[_Place]) -> _SideBySide:
        """Read prompts and choose each row's first token."""
        inputs, mask, positions = embedded
        rows = _SideBySide(places, KeyValueCache(self._graphs), mask, positions[:, -1:])
        self._choose(self._logits(rows, inputs_embeds=inputs, position_ids=positions), rows)
        return rows

    def _step(self, rows: _SideBySide) -> None:
        """One more token for every row."""
        tokens = [[place.ids[-1] if not place.left else self._filler] for place in rows.places]
        advance = [[0 if place.left else 1] for place in rows.places]
        rows.mask = torch.cat((rows.mask, rows.mask.new_ones(rows.mask.shape[0], 1)), dim=1)
        # A row that has ended keeps its position, because a model with a table of positions may have no further one.
        rows.positions = rows.positions + torch.tensor(advance, device=rows.positions.device)
        ids = torch.tensor(tokens, device=rows.positions.device)
        logits = self._graphs.step(ids, rows.positions, rows.mask, rows.cache) if self._graphs is not None else None
        if logits is None:
            with step_attention(self._llm):
                logits = self._logits(rows, input_ids=ids, position_ids=rows.positions)
        self._choose(logits, rows)

    def _logits(self, rows: _SideBySide, **inputs: Tensor) -> Tensor:
        """Logits of each row's next token: [B, V]."""
        output = self._llm(
            **inputs, attention_mask=rows.mask.long(), past_key_values=rows.cache, use_cache=True, **self._last_only
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _choose(self, logits: Tensor, rows: _SideBySide) -> None:
        """Choose the next token of every row that has not left, and note which rows end with it."""
        if self._sampling is None:
            chosen = logits.argmax(-1)  # [B]
        else:
            uniforms = [0.0 if place.left or place.draws is None else place.draws[len(place.ids)] for place in rows.places]
            chosen = draw(logits, torch.tensor(uniforms, dtype=torch.float64, device=logits.device), self._sampling)
        for place, token in zip(rows.places, chosen.tolist(), strict=True):
            if place.left:
                continue
            if token in self._stop:
                place.ended = True
            else:
                place.ids.append(token)


@dataclass
class _SideBySide:
    """B rows in their places. A row that has left keeps its place until the next call of `rebuild`.

    Attributes:
        places: the rows.
        cache: their keys and values, W columns.
        mask: [B, W] bool, True on the columns that belong to a row.
        positions: [B, 1] position id of each row's last token.
    """

    places: list[_Place]
    cache: KeyValueCache
    mask: Tensor
    positions: Tensor

    @property
    def living(self) -> list[_Place]:
        return [place for place in self.places if not place.left]

    def rebuild(self, fresh: Sequence[_SideBySide] = ()) -> None:
        """Drop rows that have left and columns that no row uses, and add new rows."""
        keep = [index for index, place in enumerate(self.places) if not place.left]
        chosen = torch.tensor(keep, dtype=torch.long, device=self.mask.device)
        self.places = [*self.living, *(place for rows in fresh for place in rows.places)]
        columns = max(place.columns for place in self.places)
        parts = [(self.mask.index_select(0, chosen), self.positions.index_select(0, chosen))]
        parts.extend((rows.mask, rows.positions) for rows in fresh)
        self.mask = torch.cat([_at_width(mask, columns) for mask, _ in parts])
        self.positions = torch.cat([positions for _, positions in parts])
        self.cache.rebuild(keep, columns, [rows.cache for rows in fresh])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model and all its modules into evaluation mode for the block, then restore their modes."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def reply_of(found: Continuation, tokenizer: PreTrainedTokenizerBase) -> Reply:
    """A continuation's text."""
    text: str = tokenizer.decode(list(found.ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Reply(found.row, text, len(found.ids), found.ended)


def _at_width(mask: Tensor, columns: int) -> Tensor:
    """The last `columns` columns of a mask. If it has fewer, masked columns are added on the left."""
    missing = columns - mask.shape[1]
    return torch.nn.functional.pad(mask, (missing, 0), value=False) if missing > 0 else mask[:, -missing:]


def check_keeps_keys_and_values(llm: PreTrainedModel) -> None:
    """Refuse an LLM that caches something other than keys and values, as Mamba does.

    Raises:
        ModelError: it has such layers.
    """
    kind = layers_without_keys(llm.config)
    if kind is not None:
        raise cannot_generate(kind, llm.config.name_or_path)
