"""The predictions for the rows of a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from throughline_worker.error_codes import RowErrorCode


@dataclass(frozen=True)
class BatchPrediction:
    """One prediction per row, in the order of the request."""

    # Why a row has no prediction; `None` for rows with one.
    errors: list[RowErrorCode | None]
    # Class per row; empty for rows with an error.
    labels: list[str]
    # Probability of the class per row; 0 for rows with an error.
    confidences: NDArray[np.float32]
    # [rows, classes]; 0 for rows with an error.
    probabilities: NDArray[np.float32]
    # The `predict …` span, for links from later hits.
    traceparent: str | None = None
    # Seconds in the queue and on the compute thread.
    timing: tuple[float, float] | None = None

    @property
    def has_errors(self) -> bool:
        """Whether at least one row has no prediction."""
        return any(error is not None for error in self.errors)
