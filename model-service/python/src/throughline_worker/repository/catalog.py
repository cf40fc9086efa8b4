"""The versions that are served: read from the repository, refreshed when the folder shows something new."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from throughline_worker import logs, telemetry
from throughline_worker.errors import NotReady, UnknownModel, UnknownVersion
from throughline_worker.repository.load import MANIFEST, MODEL, Loaded, LoadError, load
from throughline_worker.repository.write import is_name, version_number, versions

# Size and time of change of the two files: a broken version is tried again when they differ.
Fingerprint = tuple[tuple[int, int] | None, ...]

FOREIGN = "model.safetensors"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Broken:
    """A version that cannot be served, remembered so that it is reported once and not at every refresh."""

    reason: str
    seen: Fingerprint


@dataclass
class Entry:
    """One model: its good versions, and what is wrong with the others; by number, lowest first."""

    versions: dict[int, Loaded] = field(default_factory=dict)
    broken: dict[int, Broken] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why there is nothing to serve."""
        if not self.broken:
            return "it has no version yet"
        number = max(self.broken)
        return f"version {number}: {self.broken[number].reason}"


class Catalog:
    """All models of a repository. Requests in flight keep the version they began with."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models: dict[str, Entry] = {}
        self._refreshing = threading.Lock()

    @property
    def models(self) -> dict[str, Entry]:
        """All models by name, as they are now; replaced as a whole, never changed."""
        return self._models

    def refresh(self) -> bool:
        """Picks up what is new in the folder and lets go of what was removed. Blocks on the file system.

        Versions that are known are not read again: a version never changes. Returns whether anything is served. What is
        loaded goes on being served when the folder cannot be read, which raises `OSError`.
        """
        with self._refreshing:
            before = self._models
            models = {}
            for name in self._names():
                entry = _refreshed(before.get(name, Entry()), name, self._root / name)
                if entry is not None:
                    models[name] = entry
            self._models = models
            return any(entry.versions for entry in models.values())

    def find(self, name: str, version: str | None) -> Loaded:
        """The version asked for, or the highest one."""
        entry = self._models.get(name)
        if entry is None:
            raise UnknownModel(name)
        if not version:
            if not entry.versions:
                raise NotReady(name, entry.reason)
            return entry.versions[max(entry.versions)]
        number = version_number(version)
        if number in entry.versions:
            return entry.versions[number]
        if number in entry.broken:
            raise NotReady(name, f"version {version}: {entry.broken[number].reason}")
        raise UnknownVersion(name, version)

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._root.iterdir() if is_name(path.name) and path.is_dir())
        except FileNotFoundError:
            # Not there yet is a start; gone is a volume that went away.
            if self._models:
                raise
            return []


def _refreshed(known: Entry, name: str, folder: Path) -> Entry | None:
    """The entry as the folder shows it; `None` when all its versions are the other language's."""
    try:
        numbers = sorted(versions(folder))
    except FileNotFoundError:
        numbers = []
    own = [number for number in numbers if number in known.versions or _is_own(folder / str(number))]
    if numbers and not own:
        return None
    entry = Entry()
    for number in own:
        if number in known.versions:
            entry.versions[number] = known.versions[number]
        else:
            _try(entry, known.broken.get(number), name, number, folder / str(number))
    return entry


def _try(entry: Entry, before: Broken | None, name: str, number: int, place: Path) -> None:
    seen = _fingerprint(place)
    if before is not None and before.seen == seen:
        entry.broken[number] = before
        return
    labels = {telemetry.ML_MODEL_NAME: name, telemetry.ML_MODEL_VERSION: str(number)}
    try:
        loaded = load(name, number, place)
    except LoadError as error:
        entry.broken[number] = Broken(str(error), seen)
        text = f"model {name} version {number} is not served: {error}"
        logs.event(_log, logging.WARNING, "model.rejected", text, {**labels, "reason": str(error)})
    else:
        entry.versions[number] = loaded
        labels[telemetry.ML_RUN_ID] = loaded.manifest.run_id
        logs.event(_log, logging.INFO, "model.loaded", f"model {name} version {number} is loaded", labels)


def _is_own(place: Path) -> bool:
    return (place / MODEL).exists() or not (place / FOREIGN).exists()


def _fingerprint(place: Path) -> Fingerprint:
    seen: list[tuple[int, int] | None] = []
    for file in (MANIFEST, MODEL):
        try:
            stat = (place / file).stat()
            seen.append((stat.st_size, stat.st_mtime_ns))
        except OSError:
            seen.append(None)
    return tuple(seen)
