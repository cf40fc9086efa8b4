"""The reference profile: the distributions of features and predictions after the training."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from throughline_worker.repository import FeatureProfile, ReferenceProfile
from throughline_worker.train.data import CLASSES, FEATURES, Examples


def reference(training: Examples, validation: NDArray[np.float32]) -> ReferenceProfile:
    """Features over the training part, predictions [n, classes] over the validation part."""
    rows = max(len(validation), 1)
    counts = np.bincount(validation.argmax(axis=1), minlength=len(CLASSES))
    confidences = validation.max(axis=1).astype(np.float64)
    return ReferenceProfile(
        features=[
            _profile(name, training.features[:, index]) for index, name in enumerate(FEATURES)
        ],
        class_shares=[float(count / rows) for count in counts],
        confidence_deciles=_deciles(np.sort(confidences)),
    )


def _profile(name: str, column: NDArray[np.float32]) -> FeatureProfile:
    values = np.sort(column.astype(np.float64))
    edges = _deciles(values)
    # A value on an edge belongs to the bin above.
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    mean = _sum(values) / len(values)
    return FeatureProfile(
        name=name,
        decile_edges=edges,
        decile_shares=[float(count / len(values)) for count in counts],
        min=float(values[0]),
        max=float(values[-1]),
        mean=mean,
        # Of the population.
        std=math.sqrt(_sum((values - mean) ** 2) / len(values)),
        missing=0,
    )


def _sum(values: NDArray[np.float64]) -> float:
    """Adds in order, as the Rust trainer does, so both profiles are equal to the last bit."""
    return float(np.cumsum(values)[-1])


def _deciles(values: NDArray[np.float64]) -> list[float]:
    """The nine inner deciles of sorted values, interpolated (Hyndman and Fan's type 7)."""
    last = len(values) - 1
    edges = []
    for tenth in range(1, 10):
        position = last * tenth / 10
        below = math.floor(position)
        low, high = float(values[below]), float(values[math.ceil(position)])
        edges.append(low + (high - low) * (position - below))
    return edges
