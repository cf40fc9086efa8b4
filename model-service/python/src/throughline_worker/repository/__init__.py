"""The model repository: `<root>/<name>/<version>/{manifest.json, model.skops}`.

A version is written whole or not at all and never changes afterwards, so readers need no lock.
Version numbers are unique over both languages. A version with only the file of the Rust service is
skipped.
"""

from throughline_worker.repository.index import ModelRepository, ModelVersions
from throughline_worker.repository.load import Loaded, Model
from throughline_worker.repository.manifest import (
    Check,
    Dataset,
    FeatureProfile,
    Lookup,
    Manifest,
    ManifestError,
    Metrics,
    Normalisation,
    ReferenceProfile,
    TrainingRun,
)
from throughline_worker.repository.write import write_version

__all__ = [
    "Check",
    "Dataset",
    "FeatureProfile",
    "Loaded",
    "Lookup",
    "Manifest",
    "ManifestError",
    "Metrics",
    "Model",
    "ModelRepository",
    "ModelVersions",
    "Normalisation",
    "ReferenceProfile",
    "TrainingRun",
    "write_version",
]
