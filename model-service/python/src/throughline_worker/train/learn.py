"""The learning: gradient-boosted trees, with a callback for every stage."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier

from throughline_worker.train.data import Examples


@dataclass(frozen=True)
class Hyperparameters:
    """What the learning depends on besides data and seed.

    scikit-learn's defaults. Cross-validation inside the training part found none that are
    better beyond its noise, and these give the smallest file.
    """

    n_estimators: int = 100
    learning_rate: float = 0.1
    max_depth: int = 3

    def as_fields(self) -> dict[str, Any]:
        """For the manifest."""
        return {"estimator": "GradientBoostingClassifier", **asdict(self)}


@dataclass(frozen=True)
class Stage:
    """Progress after one tree: its number from 1, and the mean deviance of the training part."""

    number: int
    of: int
    loss: float


class Fit:
    """A trained model."""

    def __init__(self, model: GradientBoostingClassifier) -> None:
        self._model = model

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities [n, classes]."""
        found: NDArray[np.float64] = self._model.predict_proba(features)
        return found.astype(np.float32)

    def accuracy(self, examples: Examples) -> float:
        """Share of the examples whose class is the most likely one."""
        right = self.probabilities(examples.features).argmax(axis=1) == examples.classes
        return float(right.mean()) if len(right) else 0.0

    def weights(self) -> bytes:
        """The content of `model.skops`."""
        packed = io.BytesIO()
        skops.io.dump(self._model, packed, compression=zipfile.ZIP_DEFLATED)
        return packed.getvalue()


def learn(
    examples: Examples,
    hyperparameters: Hyperparameters,
    seed: int,
    on_stage: Callable[[Stage], None],
) -> Fit:
    """Learns from `examples` and calls `on_stage` after every tree.

    Equal input gives equal trees.
    """
    model = GradientBoostingClassifier(**asdict(hyperparameters), random_state=seed % 2**32)

    def monitor(number: int, fitted: GradientBoostingClassifier, _locals: dict[str, Any]) -> bool:
        on_stage(
            Stage(number + 1, hyperparameters.n_estimators, float(fitted.train_score_[number]))
        )
        return False

    model.fit(examples.features, examples.classes, monitor=monitor)
    return Fit(model)
