"""A version in memory, ready to compute."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sklearn
import skops.io
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning

from throughline_worker.repository.manifest import Manifest, ManifestError
from throughline_worker.repository.quick import BoostedTrees, boosted_trees

MANIFEST = "manifest.json"
MODEL = "model.skops"

# Besides the classes that skops trusts. This one does not check its arrays; the hash in the
# manifest shows that they are those of the training.
TRUSTED = ["sklearn.tree._tree.Tree"]

# The largest difference of a probability between two versions of scikit-learn or two processors.
CHECK_TOLERANCE = 1e-5
# Deviations from the mean, as in `model-service/src/repository/manifest.rs`.
FARTHEST = np.float32(1e30)


class LoadError(Exception):
    """Why a version cannot be served."""


class Model(Protocol):
    """The part of a scikit-learn classifier that the worker uses."""

    classes_: NDArray[Any]
    n_features_in_: int

    def predict_proba(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities of the classes, one row for each of `rows`."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A version that is served."""

    manifest: Manifest
    model: Model
    # The same model, if there is a quick form of it.
    trees: BoostedTrees | None = None

    @cached_property
    def _scales(self) -> tuple[NDArray[np.float32], ...]:
        """Means and deviations of the normalisation, and those of the training part."""
        normalisation, profiles = self.manifest.normalisation, self.manifest.reference.features
        means = [profile.mean for profile in profiles]
        deviations = [profile.std or 1.0 for profile in profiles]
        lists = (normalisation.mean, normalisation.std, means, deviations)
        return tuple(np.array(values, np.float32) for values in lists)

    def normalised(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw rows [n, width], normalised for the model; NaN where a value is out of range.

        That is a value that is too many deviations of the training part away. A tree would answer
        for any finite value; to the service in Rust, which computes with the value, and to us one
        like this is a sentinel and no feature.
        """
        mean, std, middle, deviation = self._scales
        # Far values overflow.
        with np.errstate(over="ignore"):
            scaled = (rows - mean) / std
            measured = (rows - middle) / deviation
        scaled[~(np.isfinite(scaled) & (np.abs(measured) <= FARTHEST))] = np.nan
        return scaled

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities [n, classes] of normalised rows [n, width]."""
        model = self.model.predict_proba if self.trees is None else self.trees.probabilities
        return model(rows).astype(np.float32)

    def is_short(self, rows: int) -> bool:
        """Whether so many rows take less time than the way to a compute thread and back."""
        return self.trees is not None and self.trees.is_short(rows)


def load(name: str, version: int, place: Path) -> Loaded:
    """Reads the version in `place`; manifest and weights must be those of this folder."""
    try:
        manifest = Manifest.parse(_bytes(place, MANIFEST))
    except ManifestError as error:
        raise LoadError(str(error)) from error
    if (manifest.name, manifest.version) != (name, str(version)):
        found = f"{manifest.name} version {manifest.version}"
        raise LoadError(f"the manifest is of {found}, which belongs in another folder")
    weights = _bytes(place, MODEL)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise LoadError(f"{MODEL} is not the file that the manifest was written for")
    loaded = Loaded(manifest, _model(weights, manifest))
    rows = _try_out(loaded)
    return replace(loaded, trees=boosted_trees(loaded.model, rows))


def _bytes(place: Path, file: str) -> bytes:
    try:
        return (place / file).read_bytes()
    except OSError as error:
        raise LoadError(f"{file} cannot be read: {error.strerror}") from error


def _model(weights: bytes, manifest: Manifest) -> Model:
    model: Model = _attempt(lambda: _unpacked(weights))
    width, classes = getattr(model, "n_features_in_", None), getattr(model, "classes_", ())
    if width != len(manifest.features) or len(classes) != len(manifest.classes):
        raise LoadError(
            "the model cannot be built: its inputs and classes are not those of the manifest"
        )
    return model


def _unpacked(weights: bytes) -> Any:
    with warnings.catch_warnings():
        # Raised for a model of another version of scikit-learn, which `_try_out` checks.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return skops.io.loads(weights, trusted=TRUSTED)


def _try_out(loaded: Loaded) -> NDArray[np.float32]:
    """Checks that the model computes what it did after its training; this also warms it up.

    Returns the normalised rows that it was tried on.
    """
    manifest = loaded.manifest
    check = manifest.check
    tried = [[0.0] * len(manifest.features)] if check is None else check.features
    rows: NDArray[np.float32] = _attempt(lambda: loaded.normalised(np.array(tried, np.float32)))
    found = _attempt(lambda: loaded.probabilities(rows))
    if check is not None and not np.allclose(
        found, check.probabilities, rtol=0.0, atol=CHECK_TOLERANCE
    ):
        made, here = manifest.framework_version, sklearn.__version__
        raise LoadError(
            f"made by scikit-learn {made}, it computes something else in scikit-learn {here}"
        )
    return rows


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # skops and the classes that it builds may raise anything
        raise LoadError(f"the model cannot be built: {error}") from error
