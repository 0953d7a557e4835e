"""Records the memory that a computation holds, from the tensors that it creates.

`MemoryTrace` watches every operator of torch. Under `FakeTensorMode`, tensors have shapes and no contents, so a step of a
7-billion-parameter model takes a second or two and no memory. With real tensors, the same trace counts real memory.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

ACTIVATIONS = "activations"
TEMPORARIES = "temporaries"
Expansion = Callable[..., Any]


@dataclass
class _Block:
    size: int
    category: str


@dataclass
class Moment:
    """The peak of a segment: bytes by category."""

    parts: dict[str, int] = field(default_factory=dict)
    total: int = 0


class MemoryTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that counts every tensor storage from its allocation to its release.

    Args:
        expansions: operators that torch shows as one call, with functions that do the same in plain torch, so that the trace
            also counts their inner tensors.
        temporary: operators whose results are released after the next product.
        transients: operators that hold memory for a moment, with functions that return its bytes from their arguments.

    Attributes:
        events: (block, bytes) for each allocation and (block, -bytes) for each release, in order.
        segments: the peak of each part of the computation, by the name given to `enter`.
    """

    def __init__(
        self,
        *,
        expansions: Mapping[Any, Expansion] | None = None,
        temporary: Collection[Any] = (),
        transients: Mapping[Any, Callable[..., int]] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._expansions, self._transients = dict(expansions or {}), dict(transients or {})
        self._temporary = frozenset(temporary)
        self._blocks: dict[int, _Block] = {}
        self._serial: dict[int, int] = {}
        self._count = 0
        self._now: Counter[str] = Counter()
        self._total = 0
        self._category = ACTIVATIONS
        self._segment = self._part = ""
        self.events: list[tuple[int, int]] = []
        self.segments: dict[str, Moment] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        expansion = self._expansions.get(func)
        if expansion is not None:
            with self, self.labelled(TEMPORARIES):
                out = expansion(*args, **kwargs)
            for item in tree_iter(out):
                if isinstance(item, Tensor):
                    self.add(item, self._category)
            return out
        transient = self._transients.get(func)
        if transient is not None:
            self._pass_by(transient(*args, **kwargs))
        out = func(*args, **kwargs)
        for item in tree_iter(out):
            if isinstance(item, Tensor):
                self.add(item, TEMPORARIES if func in self._temporary else None)
        return out

    @property
    def total(self) -> int:
        """Bytes that the computation holds now."""
        return self._total

    @property
    def peak(self) -> int:
        """Bytes at the peak of the whole computation."""
        return max((moment.total for moment in self.segments.values()), default=0)

    def enter(self, segment: str) -> None:
        """Count what follows in `segment`. A segment may be entered more than once."""
        self._segment = f"{self._part}{segment}"
        self._look()

    def begin_part(self, part: str) -> None:
        """Give the following segments other names, so that each segment holds comparable moments only."""
        self._part = f"{part}, "

    @contextlib.contextmanager
    def labelled(self, category: str) -> Iterator[None]:
        """Count new tensors in `category` inside the block."""
        before, self._category = self._category, category
        try:
            yield
        finally:
            self._category = before

    def add(self, tensor: Tensor, category: str | None = None) -> None:
        """Count a tensor's storage, unless it is counted already. With `category`, move it to that category."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        block = self._blocks.get(key)
        if block is None:
            block = _Block(storage.nbytes(), category or self._category)
            if block.size == 0:
                return
            self._blocks[key], self._serial[key] = block, self._count
            self._count += 1
            self._now[block.category] += block.size
            self._total += block.size
            self.events.append((self._serial[key], block.size))
            weakref.finalize(storage, self._remove, key).atexit = False
            self._look()
        elif category is not None and category != block.category:
            self._now[block.category] -= block.size
            self._now[category] += block.size
            block.category = category

    def add_module(self, module: nn.Module, category: str) -> None:
        """Count a module's parameters and buffers, and the scales of its 4-bit weights, unless they are counted already."""
        with self.labelled(category):
            self._add_module(module)

    def _add_module(self, module: nn.Module) -> None:
        for tensor in (*module.parameters(), *module.buffers()):
            self.add(tensor)
            state = getattr(tensor, "quant_state", None)
            if state is not None:
                scales = (state.absmax, state.offset, state.code)
                nested = (state.state2.absmax, state.state2.code) if state.state2 is not None else ()
                for part in (*scales, *nested):
                    if part is not None:
                        self.add(part)

    def _pass_by(self, size: int) -> None:
        """Count bytes that one operator allocates and releases."""
        if size <= 0:
            return
        self._now[TEMPORARIES] += size
        self._total += size
        self.events += [(self._count, size), (self._count, -size)]
        self._count += 1
        self._look()
        self._now[TEMPORARIES] -= size
        self._total -= size

    def _remove(self, key: int) -> None:
        block = self._blocks.pop(key, None)
        if block is not None:
            self._now[block.category] -= block.size
            self._total -= block.size
            self.events.append((self._serial.pop(key), -block.size))

    def _look(self) -> None:
        moment = self.segments.setdefault(self._segment, Moment())
        if self._total > moment.total:
            moment.total = self._total
            moment.parts = {name: size for name, size in self._now.items() if size}
