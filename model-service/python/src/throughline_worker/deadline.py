"""When the answer must be there."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment of the monotonic clock; everything that waits for a request waits no longer than this."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline that ends `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> Deadline:
        """The sooner of this deadline and one that ends `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    @property
    def remaining(self) -> float:
        """Seconds that are left; zero when it has passed."""
        return max(0.0, self.at - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether nobody waits any more."""
        return self.remaining <= 0.0
