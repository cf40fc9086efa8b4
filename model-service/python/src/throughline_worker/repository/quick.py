"""Boosted trees without scikit-learn's checks of its input, which `Loaded` has made.

For a row, the checks and the start of the sum, which is the same for all rows, take ten times as
long as the trees. All of this is private to scikit-learn, so it is used only if it computes exactly
what `predict_proba` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier

# Trees times rows, about 0.1 ms: less than the way to a compute thread and back takes.
SHORT = 10_000


@dataclass(frozen=True)
class BoostedTrees:
    """The parts of a classifier that its probabilities need."""

    model: Any
    # The sum of a row before its first tree.
    start: NDArray[np.float64]
    add_trees: Any

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What `predict_proba` of the model returns for finite rows."""
        # `add_trees` reads from the address of the array, whatever its type and shape are.
        if rows.ndim != 2 or rows.shape[1] != self.model.n_features_in_:
            raise ValueError(f"rows have {self.model.n_features_in_} features")
        rows = np.ascontiguousarray(rows, np.float32)
        sums = np.repeat(self.start, len(rows), axis=0)
        self.add_trees(self.model.estimators_, rows, self.model.learning_rate, sums)
        found: NDArray[np.float64] = self.model._loss.predict_proba(sums)  # noqa: SLF001
        return found

    def is_short(self, rows: int) -> bool:
        """Whether so many rows may be computed on the event loop's thread."""
        return rows * int(self.model.estimators_.size) <= SHORT


def boosted_trees(model: Any, rows: NDArray[np.float32]) -> BoostedTrees | None:
    """The quick form of `model`, or `None` if there is none that agrees with it on `rows`."""
    try:
        found = _parts(model)
        if found is None or not np.array_equal(
            found.probabilities(rows), model.predict_proba(rows)
        ):
            return None
    except Exception:  # noqa: BLE001 # another scikit-learn has other private parts
        return None
    return found


def _parts(model: Any) -> BoostedTrees | None:
    if type(model) is not GradientBoostingClassifier:
        return None
    is_prior = type(model.init_) is DummyClassifier and model.init_.strategy == "prior"
    if not is_prior and model.init_ != "zero":
        return None
    from sklearn.ensemble._gradient_boosting import predict_stages  # noqa: PLC0415

    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))  # noqa: SLF001
    return BoostedTrees(model, start, predict_stages)
