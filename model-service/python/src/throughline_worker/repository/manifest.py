"""The manifest of a version, with the fields that the Rust model service writes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class ManifestError(ValueError):
    """A file that is no manifest, or a manifest that contradicts itself."""


@dataclass(frozen=True)
class Dataset:
    """The data a model was trained on; `sha256` is of the file, lower-case hex."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Lookup:
    """Feast's coordinates of the features."""

    feature_view: str
    join_key: str


@dataclass(frozen=True)
class Normalisation:
    """`(x - mean) / std` per feature; `std` is never 0.

    Trees take raw values and have means of 0 and stds of 1.
    """

    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Metrics:
    """How good the model is. Accuracies and the baseline are shares of rows."""

    training_accuracy: float
    validation_accuracy: float
    majority_baseline: float
    training_rows: int
    validation_rows: int


@dataclass(frozen=True)
class FeatureProfile:
    """The distribution of one feature in ten bins; a value on an edge belongs to the bin above."""

    name: str
    decile_edges: list[float]
    decile_shares: list[float]
    min: float
    max: float
    mean: float
    std: float
    missing: int


@dataclass(frozen=True)
class ReferenceProfile:
    """Features over the training part, predictions over the validation part."""

    features: list[FeatureProfile]
    class_shares: list[float]
    confidence_deciles: list[float]

    @cached_property
    def range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The smallest and the largest value of each feature.

        In float32, the precision of the model's inputs: JSON may change the last bit of a float64.
        """
        low = np.array([profile.min for profile in self.features], dtype=np.float32)
        high = np.array([profile.max for profile in self.features], dtype=np.float32)
        return low, high


@dataclass(frozen=True)
class Check:
    """Some raw rows and the probabilities that the model computed for them after its training."""

    features: list[list[float]]
    probabilities: list[list[float]]


@dataclass(frozen=True)
class TrainingRun:
    """How long the training took, and its span, if it was traced."""

    duration_seconds: float
    # 32 and 16 lower-case hex digits.
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Enough to serve a version, to find its training run, and to notice drift."""

    name: str
    # Decimal number as text; also the name of the version's folder.
    version: str
    run_id: str
    created_at: str
    source_commit: str | None
    dataset: Dataset
    # SHA-256 of `model.skops`.
    weights_sha256: str
    features: list[str]
    lookup: Lookup
    normalisation: Normalisation
    classes: list[str]
    hyperparameters: dict[str, Any]
    seed: int
    metrics: Metrics
    reference: ReferenceProfile
    framework: str = "scikit-learn"
    # The version of scikit-learn. Another one may compute something else, which `check` detects.
    framework_version: str | None = None
    check: Check | None = None
    training: TrainingRun | None = None

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Reads and checks a manifest.

        Unknown fields are ignored, so later releases may add some.
        """
        try:
            manifest: Manifest = _read(cls, json.loads(text), "manifest")
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"manifest.json is not a manifest: {error}") from error
        manifest.validate()
        return manifest

    def to_json(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self), indent=2, allow_nan=False).encode()

    def validate(self) -> None:
        """Raises `ManifestError` if parts of the manifest contradict each other."""
        width = len(self.features)
        lengths = {
            "normalisation.mean": len(self.normalisation.mean),
            "normalisation.std": len(self.normalisation.std),
            "reference.features": len(self.reference.features),
        }
        for field, length in lengths.items():
            if length != width:
                raise _contradiction(f"{field} has {length} values for {width} features")
        if [profile.name for profile in self.reference.features] != self.features:
            raise _contradiction("reference.features are not the features in their order")
        if width == 0 or len(self.classes) < 2:
            raise _contradiction("a model needs features and at least two classes")
        numbers = self.normalisation.mean + self.normalisation.std
        if not all(map(math.isfinite, numbers)) or 0.0 in self.normalisation.std:
            raise _contradiction("normalisation holds a value that cannot be used")


def _contradiction(text: str) -> ManifestError:
    return ManifestError(f"the manifest contradicts itself: {text}")


def _read(kind: Any, value: Any, place: str) -> Any:
    """Converts a JSON value to the dataclass, list or plain type of the field."""
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError(f"{place} is not an object")
        return kind(**_members(kind, value, place))
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise ValueError(f"{place} is not a list")
        return [_read(get_args(kind)[0], item, place) for item in value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = (dict,) if get_origin(kind) is dict else get_args(kind) or (kind,)
    dataclasses = [option for option in allowed if is_dataclass(option)]
    if dataclasses and value is not None:
        return _read(dataclasses[0], value, place)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ValueError(f"{place} is not of its type")
    return value


def _members(kind: type[Any], value: dict[str, Any], place: str) -> dict[str, Any]:
    hints = get_type_hints(kind)
    members = {}
    for field in fields(kind):
        if field.name in value:
            members[field.name] = _read(
                hints[field.name], value[field.name], f"{place}.{field.name}"
            )
        elif type(None) in get_args(hints[field.name]):
            members[field.name] = None
        elif field.name != "framework":
            raise ValueError(f"{place}.{field.name} is missing")
    return members
