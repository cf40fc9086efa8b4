"""The index of the repository: all models and their versions, as of the last refresh."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from throughline_worker import logs, telemetry
from throughline_worker.errors import (
    NotReady,
    RepositoryReadOnly,
    UnknownModel,
    UnknownVersion,
    Unloaded,
)
from throughline_worker.repository import current
from throughline_worker.repository.current import NEWEST, Choice
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
    # Versions that are not read, because the model is unloaded.
    idle: list[int] = field(default_factory=list)
    choice: Choice = NEWEST
    # The version that answers when a request names none.
    current: int | None = None

    @property
    def chosen(self) -> int | None:
        """The current version, if it need not be the highest."""
        return None if self.choice == NEWEST else self.current

    @property
    def reason(self) -> str:
        """Why no version answers."""
        if self.choice.version is not None:
            known = self.unavailable.get(self.choice.version)
            reason = known.reason if known else "it does not exist here"
            return f"version {self.choice.version}, which is chosen: {reason}"
        if self.choice.unreadable is not None:
            return self.choice.unreadable
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
            return any(found.current is not None for found in models.values())

    def choose(self, name: str, version: int | None) -> None:
        """Makes a version the current one after it was read whole, or without one the newest.

        If it cannot be served, nothing changes. Blocks on the file system.
        """
        with self._refreshing:
            found = self._read(name)
            known = [*found.ready, *found.unavailable]
            target = max(known) if version is None else version
            if target in found.unavailable:
                raise NotReady(name, f"version {target}: {found.unavailable[target].reason}")
            if target not in found.ready:
                raise UnknownVersion(name, str(target))
            self._change(name, found, NEWEST if version is None else Choice(version=version))

    def unload(self, name: str) -> None:
        """Stops serving a model. Requests in flight are answered. Blocks on the file system."""
        with self._refreshing:
            found = self._read(name)
            numbers = sorted([*found.ready, *found.unavailable])
            idle = ModelVersions(idle=numbers, current=found.current)
            self._change(name, idle, Choice(unloaded=True))

    def _read(self, name: str) -> ModelVersions:
        """The versions that the folder of a model has now; those that failed are read again."""
        folder = self._root / name
        if not is_name(name) or not folder.is_dir():
            raise UnknownModel(name)
        known = self._models.get(name, ModelVersions())
        known = ModelVersions(ready=known.ready, current=known.current)
        found = _scanned(known, name, folder)
        if found is None or not (found.ready or found.unavailable):
            raise UnknownModel(name)
        return found

    def _change(self, name: str, found: ModelVersions, choice: Choice) -> None:
        try:
            current.write(choice, self._root / name)
        except OSError as error:
            raise RepositoryReadOnly from error
        _choose(name, found, choice)
        self._models = {**self._models, name: found}

    def find(self, name: str, version: str | None) -> Loaded:
        """The given version, or without one the current version: the chosen or the highest."""
        found = self._models.get(name)
        if found is None:
            raise UnknownModel(name)
        if found.choice.unloaded:
            raise Unloaded(name)
        if not version:
            if found.current is None:
                raise NotReady(name, found.reason)
            return found.ready[found.current]
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
    """The versions in the folder and the choice; `None` when all are of the Rust model service."""
    choice = current.read(folder)
    if choice.unloaded:
        own = _own(known, folder)
        found = None if own is None else ModelVersions(idle=own, current=known.current)
    else:
        found = _scanned(known, name, folder)
    if found is not None:
        _choose(name, found, choice)
    return found


def _own(known: ModelVersions, folder: Path) -> list[int] | None:
    """The numbers of the own versions; `None` when there are only others."""
    try:
        numbers = sorted(versions(folder))
    except FileNotFoundError:
        numbers = []
    own = [number for number in numbers if number in known.ready or _is_own(folder / str(number))]
    return None if numbers and not own else own


def _scanned(known: ModelVersions, name: str, folder: Path) -> ModelVersions | None:
    own = _own(known, folder)
    if own is None:
        return None
    found = ModelVersions(current=known.current)
    for number in own:
        if number in known.ready:
            found.ready[number] = known.ready[number]
        else:
            _insert(found, known.unavailable.get(number), name, number, folder / str(number))
    return found


def _choose(name: str, found: ModelVersions, choice: Choice) -> None:
    """Sets the current version; one that cannot be served leaves the one before in its place."""
    before = found.current
    found.choice = choice
    if choice == NEWEST:
        found.current = max(found.ready, default=None)
    elif choice.version in found.ready:
        found.current = choice.version
    elif found.current not in found.ready:
        found.current = None
    labels = {telemetry.ML_MODEL_NAME: name}
    if found.current is not None and found.current != before:
        labels[telemetry.ML_MODEL_VERSION] = str(found.current)
        text = f"model {name} version {found.current} is the current one"
        logs.event(_log, logging.INFO, "model.current", text, labels)
    if found.current is None and before is not None:
        text = f"model {name} does not answer any more: it is unloaded, or has no version"
        logs.event(_log, logging.WARNING, "model.stopped", text, labels)


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
