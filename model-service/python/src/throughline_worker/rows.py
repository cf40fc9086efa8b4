"""The rows of one request on their way to the model: raw feature vectors, and the rows that have none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_FOUND = "not_found"
OUTSIDE_MAX_AGE = "outside_max_age"
MISSING_FEATURES = "missing_features"


@dataclass(frozen=True)
class Rows:
    """Feature vectors of the good rows, and for every row of the request what is wrong with it."""

    # [good rows, width], all finite.
    values: NDArray[np.float32]
    # One word per row of the request; empty is a good row.
    failures: list[str]
    # Missing values per feature.
    missing: list[int]

    @classmethod
    def of(cls, values: NDArray[np.float32], failures: list[str] | None = None) -> Rows:
        """Sorts rows [n, width]; a value that is not finite is missing, and its row fails if it has not before."""
        words = list(failures) if failures is not None else [""] * len(values)
        good = np.array([not word for word in words], dtype=bool)
        finite = np.isfinite(values)
        missing = np.count_nonzero(~finite & good[:, None], axis=0)
        whole = finite.all(axis=1)
        for row in np.flatnonzero(good & ~whole):
            words[row] = MISSING_FEATURES
        return cls(values[good & whole], words, [int(count) for count in missing])

    def __len__(self) -> int:
        """Rows of the request, good or not."""
        return len(self.failures)

    @property
    def is_all_unknown(self) -> bool:
        """Whether no entity of the request is known."""
        return all(word == NOT_FOUND for word in self.failures)

    @property
    def has_failures(self) -> bool:
        """Whether at least one row has no prediction."""
        return any(self.failures)
