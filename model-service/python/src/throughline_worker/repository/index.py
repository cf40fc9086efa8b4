"""The index of the repository: all models and their versions, as of the last refresh."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from throughline_worker import logs, telemetry
from throughline_worker.errors import NotReady, UnknownModel, UnknownVersion
from throughline_worker.repository.load import MANIFEST, MODEL, Loaded, LoadError, load
from throughline_worker.repository.write import is_name, version_number, versions

# Size and modification time of the two files. When they differ, an unavailable version is tried
# again.
Fingerprint = tuple[tuple[int, int] | None, ...]

# The file of the versions of the Rust model service.
FOREIGN = "model.safetensors"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unavailable:
    """A version that cannot be served, kept so that it is logged once and not at every refresh."""

    reason: str
    fingerprint: Fingerprint


@dataclass
class ModelVersions:
    """The versions of one model by number, lowest first."""

    ready: dict[int, Loaded] = field(default_factory=dict)
    unavailable: dict[int, Unavailable] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why no version is ready."""
        if not self.unavailable:
            return "it has no version yet"
        number = max(self.unavailable)
        return f"version {number}: {self.unavailable[number].reason}"


class ModelRepository:
    """All models of a repository. Requests in flight keep the version they began with."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models: dict[str, ModelVersions] = {}
        self._refreshing = threading.Lock()

    @property
    def models(self) -> dict[str, ModelVersions]:
        """The models by name, as of the last refresh.

        A refresh replaces the dictionary and never changes it.
        """
        return self._models

    def refresh(self) -> bool:
        """Loads new versions and drops removed ones. Blocks on the file system.

        Known versions are not read again, because a version never changes. Returns whether
        any version is ready. Raises `OSError` when the folder cannot be read; the loaded
        versions stay in service then.
        """
        with self._refreshing:
            before = self._models
            models = {}
            for name in self._names():
                found = _refreshed(before.get(name, ModelVersions()), name, self._root / name)
                if found is not None:
                    models[name] = found
            self._models = models
            return any(found.ready for found in models.values())

    def find(self, name: str, version: str | None) -> Loaded:
        """The given version, or without one the highest that is ready."""
        found = self._models.get(name)
        if found is None:
            raise UnknownModel(name)
        if not version:
            if not found.ready:
                raise NotReady(name, found.reason)
            return found.ready[max(found.ready)]
        number = version_number(version)
        if number in found.ready:
            return found.ready[number]
        if number in found.unavailable:
            raise NotReady(name, f"version {version}: {found.unavailable[number].reason}")
        raise UnknownVersion(name, version)

    def _names(self) -> list[str]:
        try:
            return sorted(
                path.name for path in self._root.iterdir() if is_name(path.name) and path.is_dir()
            )
        except FileNotFoundError:
            # A repository that was never there may still come. One that has gone is an error.
            if self._models:
                raise
            return []


def _refreshed(known: ModelVersions, name: str, folder: Path) -> ModelVersions | None:
    """The versions in the folder; `None` when all of them are of the Rust model service."""
    try:
        numbers = sorted(versions(folder))
    except FileNotFoundError:
        numbers = []
    own = [number for number in numbers if number in known.ready or _is_own(folder / str(number))]
    if numbers and not own:
        return None
    found = ModelVersions()
    for number in own:
        if number in known.ready:
            found.ready[number] = known.ready[number]
        else:
            _insert(found, known.unavailable.get(number), name, number, folder / str(number))
    return found


def _insert(
    found: ModelVersions, before: Unavailable | None, name: str, number: int, place: Path
) -> None:
    """Inserts a version under its state and logs a change."""
    fingerprint = _fingerprint(place)
    if before is not None and before.fingerprint == fingerprint:
        found.unavailable[number] = before
        return
    labels = {telemetry.ML_MODEL_NAME: name, telemetry.ML_MODEL_VERSION: str(number)}
    try:
        loaded = load(name, number, place)
    except LoadError as error:
        found.unavailable[number] = Unavailable(str(error), fingerprint)
        text = f"model {name} version {number} is not served: {error}"
        logs.event(_log, logging.WARNING, "model.rejected", text, {**labels, "reason": str(error)})
    else:
        found.ready[number] = loaded
        labels[telemetry.ML_RUN_ID] = loaded.manifest.run_id
        logs.event(
            _log, logging.INFO, "model.loaded", f"model {name} version {number} is loaded", labels
        )


def _is_own(place: Path) -> bool:
    return (place / MODEL).exists() or not (place / FOREIGN).exists()


def _fingerprint(place: Path) -> Fingerprint:
    found: list[tuple[int, int] | None] = []
    for file in (MANIFEST, MODEL):
        try:
            stat = (place / file).stat()
            found.append((stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)
