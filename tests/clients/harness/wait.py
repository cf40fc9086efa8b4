"""Waits for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

# A condition that does not come true by then fails the test; a debug build on a busy machine needs some of it.
DEADLINE = 30.0
PAUSE = 0.02

T = TypeVar("T")


def until(what: str, probe: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """Call `probe` until it returns something, and return that; fail with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while (found := probe()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline:.0f} s in vain until {what}")
        time.sleep(PAUSE)
    return found
