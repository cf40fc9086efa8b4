"""A version in memory, ready to compute."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sklearn
import skops.io
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning

from throughline_worker.repository.manifest import Manifest, ManifestError

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

    def normalised(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw rows [n, width], normalised for the model; NaN where a value is out of range.

        That is a value that is too many deviations of the training part away. A tree would answer
        for any finite value; to the service in Rust, which computes with the value, and to us one
        like this is a sentinel and no feature.
        """
        normalisation, profiles = self.manifest.normalisation, self.manifest.reference.features
        deviations = [profile.std or 1.0 for profile in profiles]
        scaled = _scaled(rows, normalisation.mean, normalisation.std)
        measured = _scaled(rows, [profile.mean for profile in profiles], deviations)
        scaled[~(np.isfinite(scaled) & (np.abs(measured) <= FARTHEST))] = np.nan
        return scaled

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities [n, classes] of normalised rows [n, width]."""
        return self.model.predict_proba(rows).astype(np.float32)


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
    _try_out(loaded)
    return loaded


def _scaled(rows: NDArray[np.float32], mean: list[float], std: list[float]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        centred = rows - np.array(mean, np.float32)
        return np.asarray(centred / np.array(std, np.float32), dtype=np.float32)


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


def _try_out(loaded: Loaded) -> None:
    """Checks that the model computes what it did after its training; this also warms it up."""
    manifest = loaded.manifest
    if manifest.check is None:
        _attempt(
            lambda: loaded.probabilities(
                loaded.normalised(np.zeros((1, len(manifest.features)), np.float32))
            )
        )
        return
    rows = np.array(manifest.check.features, np.float32)
    found = _attempt(lambda: loaded.probabilities(loaded.normalised(rows)))
    if not np.allclose(found, manifest.check.probabilities, rtol=0.0, atol=CHECK_TOLERANCE):
        made, here = manifest.framework_version, sklearn.__version__
        raise LoadError(
            f"made by scikit-learn {made}, it computes something else in scikit-learn {here}"
        )


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # skops and the classes that it builds may raise anything
        raise LoadError(f"the model cannot be built: {error}") from error
