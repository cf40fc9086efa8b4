"""The model repository: `<root>/<name>/<version>/{manifest.json, model.skops}` on a file system, beside Rust's models.

A version is written whole or not at all and is never changed afterwards, so that readers need no lock. Version numbers
are unique over both languages; a version that holds only the other language's file is not ours, and no fault.
"""

from throughline_worker.repository.catalog import Catalog, Entry
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
)
from throughline_worker.repository.write import write_version

__all__ = [
    "Catalog",
    "Check",
    "Dataset",
    "Entry",
    "FeatureProfile",
    "Loaded",
    "Lookup",
    "Manifest",
    "ManifestError",
    "Metrics",
    "Model",
    "Normalisation",
    "ReferenceProfile",
    "write_version",
]
