"""How many connections each process has, in memory that all processes of the service see.

Clients keep their connections, so a process that had most of them would have most of the load.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time

# Processes that a service may have.
MOST = 64
# Seconds between two connections that a process gives away.
GIVE_EVERY = 0.02
_BYTES = 4 * MOST
# In a place without a process, or with one that accepts no connection.
_NONE = -1


class Counts:
    """The counts of all, and the place of this process among them."""

    def __init__(self, memory: mmap.mmap, descriptor: int, place: int) -> None:
        # For the processes that are started later.
        self.descriptor = descriptor
        self._all = memoryview(memory).cast("i")
        self._place = place
        self._accepts = False
        self._next_gift = 0.0

    @classmethod
    def new(cls, processes: int) -> Counts:
        """Those of the first process, which others can see if there are any. Raises `OSError`."""
        descriptor = _memory() if processes > 1 else -1
        counts = cls(mmap.mmap(descriptor, _BYTES), descriptor, 0)
        for place in range(MOST):
            counts.remove(place)
        return counts

    @classmethod
    def inherited(cls, descriptor: int, place: int) -> Counts:
        """Those of another process. Raises `OSError`."""
        return cls(mmap.mmap(descriptor, _BYTES), descriptor, place)

    def begin(self) -> None:
        """From now on this process accepts connections."""
        self._accepts = True
        self.set(0)

    def set(self, connections: int) -> None:
        """Says how many this process has."""
        if self._accepts:
            self._all[self._place] = connections

    def add(self) -> None:
        """Counts one more, until the next `set` counts it, too."""
        self.set(self._all[self._place] + 1)

    def end(self) -> None:
        """From now on this process accepts no connections."""
        self._accepts = False
        self.remove(self._place)

    def remove(self, place: int) -> None:
        """The process of this place has ended."""
        self._all[place] = _NONE

    def others_have_fewer(self, by: int = 1) -> bool:
        """Whether another process has fewer connections, and thus should get the next one."""
        own = self._all[self._place]
        return any(_NONE < count <= own - by for count in self._all)

    def gives_away(self) -> bool:
        """Whether a client should connect again, because another process has two fewer.

        One that came later than the others has none, and clients stay where they are.
        """
        now = time.monotonic()
        if now < self._next_gift:
            return False
        self._next_gift = now + GIVE_EVERY
        return self.others_have_fewer(by=2)


def _memory() -> int:
    """A file without a name, of the size of all counts."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("throughline-connections")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _BYTES)
    return descriptor
