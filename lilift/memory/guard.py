"""Continues when memory runs out: it frees cached memory, halves the batch, and remembers the smaller size.

Training, generation and export give an `OutOfMemoryGuard` a list of rows and a function that works on some of them. When the
function fails, it must not leave a part half done. Then the way in which the guard splits the rows changes no result.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lilift.memory.host_allocator import return_small_blocks

Item = TypeVar("Item")
Result = TypeVar("Result")
# Number of attempts for a single row, because another program may have taken the memory for a moment.
PATIENCE = 6


class OutOfMemoryGuard:
    """Splits work that does not fit into memory.

    Args:
        note: receives a line for the user each time the budget shrinks.
        budget: most work at once, in the unit of `size`; None until memory runs out for the first time.
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
            work: does a part. If it raises for lack of memory, it must have done nothing of that part.
            size: how much of the budget a part takes.

        Returns:
            The results of the parts.

        Raises:
            MemoryError, torch.OutOfMemoryError, RuntimeError: a single item does not fit, after a few attempts.
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
        """Do work that cannot be split. If memory runs out, free cached memory and try again, a few times."""
        return self.run([None], lambda _: work(), size=lambda _: 0)[0]

    def _shrink(self, budget: int) -> None:
        self.budget = max(1, budget if self.budget is None else min(budget, self.budget))
        self._note(f"memory ran out; lilift continues with at most {self.budget:,} tokens at once")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. torch has its own class only for the memory of a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "CUDA out of memory" in text)


def free_memory() -> None:
    """Free the memory that Python, the C library and torch's allocator hold but do not use."""
    gc.collect()
    return_small_blocks()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _attempt(work: Callable[[Sequence[Item]], Result], part: Sequence[Item], results: list[Result]) -> Exception | None:
    """Do one part and return the failure, without its traceback: the frames would keep the part's tensors alive."""
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
