"""The rows of one request before the model: raw feature vectors, and the rows that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from throughline_worker.error_codes import RowErrorCode


@dataclass(frozen=True)
class FeatureRows:
    """Feature vectors of the good rows, and the error of each row, if it has one."""

    # [good rows, width], all finite.
    values: NDArray[np.float32]
    # One entry per row of the request; `None` is a good row.
    errors: list[RowErrorCode | None]
    # Missing values per feature.
    missing: list[int]

    @classmethod
    def of(
        cls, values: NDArray[np.float32], errors: Sequence[RowErrorCode | None] | None = None
    ) -> FeatureRows:
        """Rows [n, width] and their errors so far.

        In the other rows a value that is not finite counts as missing.
        """
        finite = np.isfinite(values)
        if errors is None and finite.all():
            return cls(values, _no_errors(len(values)), [0] * values.shape[1])
        found = list(errors) if errors is not None else _no_errors(len(values))
        good = np.array([error is None for error in found], dtype=bool)
        missing = np.count_nonzero(~finite & good[:, None], axis=0)
        complete = finite.all(axis=1)
        for row in np.flatnonzero(good & ~complete):
            found[row] = RowErrorCode.MISSING_FEATURES
        return cls(values[good & complete], found, [int(count) for count in missing])

    def __len__(self) -> int:
        """Rows of the request, good or not."""
        return len(self.errors)

    @property
    def is_all_unknown(self) -> bool:
        """Whether the feature store knows no entity of the request."""
        return all(error is RowErrorCode.UNKNOWN_ENTITY for error in self.errors)


def _no_errors(rows: int) -> list[RowErrorCode | None]:
    return [None] * rows
