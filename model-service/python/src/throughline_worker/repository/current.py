"""The file that says which version of a model is the current one.

It lies beside the versions, so it survives restarts and holds for every worker that reads the
folder. The model service in Rust has a file of its own, because its versions are others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from throughline_worker.repository.write import sync, version_number, write_synced

FILE = "current.scikit-learn"
_UNLOADED = "unloaded"


@dataclass(frozen=True)
class Choice:
    """Which version answers when a request names none; without fields the newest."""

    version: int | None = None
    # No version at all answers.
    unloaded: bool = False
    # Why the file says none of this.
    unreadable: str | None = None


NEWEST = Choice()


def read(folder: Path) -> Choice:
    """The choice in the folder of a model."""
    try:
        text = (folder / FILE).read_text().strip()
    except FileNotFoundError:
        return NEWEST
    except (OSError, UnicodeDecodeError) as error:
        return Choice(unreadable=f"{FILE} cannot be read: {error}")
    if text == _UNLOADED:
        return Choice(unloaded=True)
    number = version_number(text)
    if number is None:
        return Choice(unreadable=f"{FILE} is no number of a version")
    return Choice(version=number)


def write(choice: Choice, folder: Path) -> None:
    """Writes the choice whole or not at all, and durably. Raises `OSError`."""
    if choice == NEWEST:
        (folder / FILE).unlink(missing_ok=True)
    else:
        # A name of its own for each writer, so that none renames the half of another.
        temporary = folder / f".{FILE}-{os.getpid()}"
        text = _UNLOADED if choice.unloaded else str(choice.version)
        try:
            write_synced(temporary, f"{text}\n".encode())
            temporary.replace(folder / FILE)
        finally:
            temporary.unlink(missing_ok=True)
    sync(folder)
