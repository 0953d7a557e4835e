"""Messages from the other processes of a run to the first one, which takes them when it has time.

They go through torch's key-value store. With torchrun, that lives outside the processes, so that the first one still gets the
last messages of a process that was killed.
"""

from __future__ import annotations

import json
from typing import Any


class Mailbox:
    """A box for one piece of work. Every process makes it, in the same order.

    Args:
        store: torch's key-value store, which all processes share.
        name: names the box.
        rank: number of this process.
        size: number of processes.
    """

    def __init__(self, store: Any, name: str, rank: int, size: int) -> None:
        self._store, self._name, self._rank = store, name, rank
        self._counts = [0] * size  # messages of each process: posted by this one, or taken from the others

    def post(self, message: Any) -> None:
        """Send a JSON value to the first process. It does not wait."""
        self._store.set(self._key(self._rank), json.dumps(message))
        self._counts[self._rank] += 1

    def take(self) -> list[tuple[int, Any]]:
        """In the first process: what the others have posted since the last call, each message with its sender's number."""
        found = []
        for rank in range(1, len(self._counts)):
            while self._store.check([key := self._key(rank)]):
                found.append((rank, json.loads(self._store.get(key))))
                self._store.delete_key(key)
                self._counts[rank] += 1
        return found

    def ask_to_stop(self, number: int) -> None:
        """In the first process: tell the others that a signal asked one of the processes to stop."""
        self._store.set(f"{self._name}/stop", str(number))

    @property
    def stop(self) -> int:
        """In the others: the number of that signal; 0 without one."""
        key = f"{self._name}/stop"
        return int(self._store.get(key)) if self._store.check([key]) else 0

    def _key(self, rank: int) -> str:
        return f"{self._name}/{rank}/{self._counts[rank]}"
