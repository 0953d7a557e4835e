"""Going on when memory runs out: free what is cached, take half as much at a time, and remember it.

Training, generation and export hand their work to an `OutOfMemoryGuard` as a list of rows and a function that does some of
them. The function must leave nothing half done when it fails; how the rows are cut then changes no result.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
# How often one row that cannot be split is tried, since another program may have taken the memory for a moment.
PATIENCE = 6


class OutOfMemoryGuard:
    """Splits work that does not fit.

    Args:
        note: is given a line for people each time the budget shrinks.
        budget: what is done at once at most, in the unit of `size`; None until memory has run out for the first time.
    """

    def __init__(self, note: Callable[[str], None], *, budget: int | None = None) -> None:
        self._note = note
        self.budget = budget
        self.failures = 0

    def run(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Result], *, size: Callable[[Sequence[Item]], int]
    ) -> list[Result]:
        """Do `work` on all items, in order, in as few parts as fit.

        Args:
            items: at least one.
            work: does a part; when it raises for lack of memory, nothing of that part may have been done.
            size: how much of the budget a part takes.

        Returns:
            The results of the parts.

        Raises:
            MemoryError, torch.OutOfMemoryError, RuntimeError: a single item does not fit, tried a few times.
        """
        waiting = deque([items])
        results: list[Result] = []
        attempts = 0
        while waiting:
            part = waiting.popleft()
            if len(part) > 1 and self.budget is not None and size(part) > self.budget:
                waiting.extendleft(reversed(_halves(part)))
                continue
            failure = _attempt(work, part, results)
            if failure is None:
                attempts = 0
                continue
            self.failures += 1
            free_memory()
            if len(part) > 1:
                self._shrink(size(part) // 2)
                waiting.extendleft(reversed(_halves(part)))
            else:
                attempts += 1
                if attempts >= PATIENCE:
                    raise failure
                waiting.appendleft(part)
        return results

    def retry(self, work: Callable[[], Result]) -> Result:
        """Do what cannot be split; when memory runs out, free what is cached and try again, a few times."""
        return self.run([None], lambda _: work(), size=lambda _: 0)[0]

    def _shrink(self, budget: int) -> None:
        self.budget = max(1, budget if self.budget is None else min(budget, self.budget))
        self._note(f"memory ran out; going on with at most {self.budget:,} tokens at once")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted; torch has a class of its own for a GPU's refusal only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "CUDA out of memory" in text)


def free_memory() -> None:
    """Give back what Python and torch's allocator hold without using it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _attempt(work: Callable[[Sequence[Item]], Result], part: Sequence[Item], results: list[Result]) -> Exception | None:
    """Do one part; returns the failure, rid of the traceback, whose frames would keep the part's tensors alive."""
    try:
        results.append(work(part))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    return None


def _halves(part: Sequence[Item]) -> list[Sequence[Item]]:
    middle = (len(part) + 1) // 2
    return [part[:middle], part[middle:]]
