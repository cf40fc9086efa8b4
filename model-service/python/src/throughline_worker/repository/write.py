"""Writing a version: whole, durable, and under a number of its own even with concurrent writers."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from throughline_worker.config import POSIX
from throughline_worker.repository.load import MANIFEST, MODEL
from throughline_worker.repository.manifest import Manifest

# Attempts to take the next number, which another writer may take first; a hundred times in a row is
# a fault.
ATTEMPTS = 100


def write_version(root: Path, manifest: Manifest, weights: bytes) -> Manifest:
    """Writes the next version of `manifest.name`; returns the manifest with version and hash.

    The files are written to a hidden folder beside the versions, flushed to the disk and then
    renamed. So no reader sees a part of a version, and of two writers with the same number the
    second takes the next one. Raises `OSError`, and leaves no part behind.
    """
    if not is_name(manifest.name):
        raise ValueError(f"`{manifest.name}` cannot be the name of a model")
    folder = root / manifest.name
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".tmp-{manifest.run_id}"
    temporary.mkdir()
    try:
        write_synced(temporary / MODEL, weights)
        return _rename(
            folder, temporary, replace(manifest, weights_sha256=hashlib.sha256(weights).hexdigest())
        )
    finally:
        # After the rename the folder does not exist. After a failure, what remains is hidden and
        # harmless.
        shutil.rmtree(temporary, ignore_errors=True)


def versions(folder: Path) -> list[int]:
    """The numbers of all versions in a model's folder, whole or not, of either language."""
    found = (version_number(path.name) for path in folder.iterdir())
    return [number for number in found if number is not None]


def version_number(name: str) -> int | None:
    """`12` is a version; `012`, `v12` and `.tmp-…` are not."""
    return int(name) if re.fullmatch(r"[1-9][0-9]{0,18}", name) else None


def is_name(name: str) -> bool:
    """Letters, digits, `_`, `-` and, except in the first place, `.`, for folders and URLs."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}", name) is not None


def _rename(folder: Path, temporary: Path, manifest: Manifest) -> Manifest:
    for _ in range(ATTEMPTS):
        manifest = replace(manifest, version=str(max(versions(folder), default=0) + 1))
        write_synced(temporary / MANIFEST, manifest.to_json())
        sync(temporary)
        try:
            temporary.rename(folder / manifest.version)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            sync(folder)
            return manifest
    raise OSError(errno.EBUSY, "other writers took every version number that was tried")


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file and flushes it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Makes the names in a folder durable.

    Windows cannot open a folder as a file; NTFS journals names itself.
    """
    if POSIX:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
