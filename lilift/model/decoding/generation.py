"""Many rows continued side by side by one causal LLM, each exactly as it would be alone.

Rows differ in length, by a factor of ten between an easy problem and a hard one. A batch that waits for its slowest row spends
most of its time on rows that have ended, so here a row leaves when it ends and a waiting one takes its place. How many run side
by side follows from a budget of tokens, prompts and the longest possible responses together; the longest come first, so that
neighbours are alike and a batch that is too large for the memory shows itself at once.

transformers' own continuous batching takes token ids only; a bridged model's rows begin with soft tokens, hence this loop.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lilift.model.decoding.key_value_cache import KeyValueCache
from lilift.model.decoding.sampling import Sampling, draw
from lilift.recipe.errors import ModelError

_REFILL_SHARE = 8  # places are refilled when one in so many is free: a prompt pass for a single row is poorly used
_SHRINK_SHARE = 4  # with nothing waiting, rows that have ended are dropped when they are one in so many


@dataclass(frozen=True)
class Continuation:
    """What a row was continued with.

    Attributes:
        row: which row.
        ids: its new tokens, without the stop token.
        ended: whether it came to a stop token; otherwise it was cut at the longest response.
    """

    row: int
    ids: tuple[int, ...]
    ended: bool


@dataclass(frozen=True)
class Reply:
    """A continuation as text.

    Attributes:
        row: which row.
        text: without special tokens.
        tokens: how many there are.
        ended: whether the model ended it; otherwise it was cut at the longest response.
    """

    row: int
    text: str
    tokens: int
    ended: bool


Embedded = tuple[Tensor, Tensor, Tensor]
"""Rows padded on the left: inputs_embeds [B, T, D], mask [B, T] bool, position ids [B, T]."""


@dataclass
class _Place:
    """A row that is being continued."""

    row: int
    prompt: int
    draws: np.ndarray[Any, np.dtype[np.float64]] | None
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    left: bool = False

    @property
    def columns(self) -> int:
        """Columns of the cache that it uses; the last token that was chosen is not in it yet."""
        return self.prompt + len(self.ids) - 1


class Continuer:
    """Continues rows with one LLM.

    Args:
        llm: any causal LLM of transformers whose memory is keys and values.
        stop: tokens that end a response.
        max_new_tokens: a response ends here at the latest.
        budget: tokens of prompts and longest responses side by side; a row that is longer runs alone.
        most_rows: at most so many rows side by side.
        sampling: None takes the likeliest token.

    Raises:
        ModelError: the LLM keeps something else than keys and values.
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
    ) -> None:
        check_keeps_keys_and_values(llm)
        self._llm = llm
        self._stop = frozenset(stop)
        self._filler = next(iter(stop))  # fed to rows that have ended; nobody looks at what comes of it
        self._max_new_tokens = max_new_tokens
        self._budget = budget
        self._most_rows = most_rows
        self._sampling = sampling
        # Logits of the last position only, where the model can be asked for that; a prompt's would take B * T * V numbers.
        self._last_only: dict[str, int] = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(llm.forward).parameters else {}
        )

    @torch.no_grad()
    def run(
        self,
        lengths: Sequence[int],
        embed: Callable[[Sequence[int]], Embedded],
        *,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[Continuation]:
        """Continue rows; each comes as soon as it is complete.

        Args:
            lengths: each row's prompt length in tokens.
            embed: gives the prompts of some rows.
            seeds: each row's own seed; needed where tokens are drawn.
        """
        if self._sampling is not None and seeds is None:
            raise ValueError("drawing tokens needs a seed for every row")
        waiting = deque(sorted(range(len(lengths)), key=lambda row: -lengths[row]))
        side_by_side: _SideBySide | None = None
        while waiting or side_by_side is not None:
            admitted = self._admit(waiting, lengths, side_by_side.living if side_by_side else [])
            if admitted:
                new = [_Place(row, lengths[row], self._draws(row, seeds)) for row in admitted]
                fresh = self._prefill(embed(admitted), new)
                if side_by_side is None:
                    side_by_side = fresh
                else:
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
        """A row's random numbers, one for every token, whatever runs beside it."""
        if self._sampling is None or seeds is None:
            return None
        return np.random.default_rng((self._sampling.seed, seeds[row])).random(self._max_new_tokens)

    def _admit(self, waiting: deque[int], lengths: Sequence[int], living: Sequence[_Place]) -> list[int]:
        """The rows that begin now: as many as the budget has room for, if it is worth a prompt pass."""
        if not waiting:
            return []
        # Nobody grows beyond the longest of all, and everybody is as wide as the longest.
        widest = max([lengths[waiting[0]], *(place.prompt for place in living)]) + self._max_new_tokens
        allowed = max(1, self._budget // widest)
        if self._most_rows is not None:
            allowed = min(allowed, self._most_rows)
        free = allowed - len(living)
        if free < min(len(waiting), max(1, allowed // _REFILL_SHARE)):
            return []
        return [waiting.popleft() for _ in range(min(free, len(waiting)))]

    def _prefill(self, embedded: Embedded, places: list[_Place]) -> _SideBySide:
        """Read prompts and choose each row's first token."""
        inputs, mask, positions = embedded
        rows = _SideBySide(places, KeyValueCache(), mask, positions[:, -1:])
        self._choose(self._logits(rows, inputs_embeds=inputs, position_ids=positions), rows)
        return rows

    def _step(self, rows: _SideBySide) -> None:
        """One more token for every row."""
        tokens = [[place.ids[-1] if not place.left else self._filler] for place in rows.places]
        advance = [[0 if place.left else 1] for place in rows.places]
        rows.mask = torch.cat((rows.mask, rows.mask.new_ones(rows.mask.shape[0], 1)), dim=1)
        # A row that has ended stays where it is: a model with a table of positions may have no further one.
        rows.positions = rows.positions + torch.tensor(advance, device=rows.positions.device)
        ids = torch.tensor(tokens, device=rows.positions.device)
        self._choose(self._logits(rows, input_ids=ids, position_ids=rows.positions), rows)

    def _logits(self, rows: _SideBySide, **inputs: Tensor) -> Tensor:
        """What the LLM thinks of the next token: [B, V]."""
        output = self._llm(
            **inputs, attention_mask=rows.mask.long(), past_key_values=rows.cache, use_cache=True, **self._last_only
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _choose(self, logits: Tensor, rows: _SideBySide) -> None:
        """Choose every living row's next token, and note which rows end with it."""
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
    """B rows in their places. A row that has left keeps its place until the next rebuilding.

    Attributes:
        places: what stands where.
        cache: their keys and values, W columns.
        mask: [B, W] bool, True on a row's own columns.
        positions: [B, 1] position id of each row's last token.
    """

    places: list[_Place]
    cache: KeyValueCache
    mask: Tensor
    positions: Tensor

    @property
    def living(self) -> list[_Place]:
        return [place for place in self.places if not place.left]

    def rebuild(self, fresh: _SideBySide | None = None) -> None:
        """Drop rows that have left and columns that nobody uses; take new rows in."""
        keep = [index for index, place in enumerate(self.places) if not place.left]
        chosen = torch.tensor(keep, dtype=torch.long, device=self.mask.device)
        self.places = self.living + (fresh.places if fresh else [])
        columns = max(place.columns for place in self.places)
        parts = [(self.mask.index_select(0, chosen), self.positions.index_select(0, chosen))]
        if fresh:
            parts.append((fresh.mask, fresh.positions))
        self.mask = torch.cat([_at_width(mask, columns) for mask, _ in parts])
        self.positions = torch.cat([positions for _, positions in parts])
        self.cache.rebuild(keep, columns, fresh.cache if fresh else None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model and all in it into evaluation mode for a while."""
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
    """The last `columns` columns of a mask; columns that it lacks are added on the left, masked."""
    missing = columns - mask.shape[1]
    return torch.nn.functional.pad(mask, (missing, 0), value=False) if missing > 0 else mask[:, -missing:]


def check_keeps_keys_and_values(llm: PreTrainedModel) -> None:
    """Refuse an LLM whose memory of what it has read is something else, as that of Mamba is.

    Raises:
        ModelError: it has such layers.
    """
    kinds = set(getattr(llm.config.get_text_config(), "layer_types", None) or ())
    others = kinds - {"full_attention", "sliding_attention"}
    if others:
        raise ModelError(
            f"the LLM has layers of a kind that batched generation does not know: {min(others)}",
            where=llm.config.name_or_path,
            remedy="choose an LLM with full or sliding attention",
        )
