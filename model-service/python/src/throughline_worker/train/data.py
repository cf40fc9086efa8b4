"""The wine data as examples: eleven measurements and a class."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# In the order of the model's inputs. The columns of the file and the features of the feature store
# have the same names.
FEATURES = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
    "alcohol",
)

# Class 0 and class 1.
CLASSES = ("low", "high")

# The lowest quality (0 to 10) that counts as high.
HIGH_FROM = 6.0


class DataError(ValueError):
    """A file that is no data set."""


@dataclass(frozen=True)
class Examples:
    """Rows [n, 11] and their classes [n]."""

    features: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.classes)

    def take(self, rows: NDArray[np.bool_]) -> Examples:
        """The rows that the mask selects."""
        return Examples(self.features[rows], self.classes[rows])


@dataclass(frozen=True)
class Data:
    """A data set with the SHA-256 of its file in lower-case hex."""

    examples: Examples
    sha256: str


def read(path: Path) -> Data:
    """Reads the CSV file.

    Columns are found by name; further columns are ignored. Raises `OSError` and `DataError`.
    """
    content = path.read_bytes()
    return Data(_parse(content), hashlib.sha256(content).hexdigest())


def _parse(content: bytes) -> Examples:
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError("the data is not valid CSV") from error
    header = rows[0] if rows else []
    places = []
    for name in (*FEATURES, "quality"):
        if name not in header:
            raise DataError(f"the data has no column {name}")
        places.append(header.index(name))
    table = [
        _numbers(row, len(header), places, line)
        for line, row in enumerate(rows[1:], start=2)
        if row
    ]
    numbers = np.array(table, dtype=np.float32).reshape(len(table), len(places))
    return Examples(numbers[:, :-1].copy(), (numbers[:, -1] >= HIGH_FROM).astype(np.int64))


def _numbers(row: list[str], width: int, places: list[int], line: int) -> list[float]:
    if len(row) != width:
        raise DataError(f"the data is not valid CSV: line {line} has {len(row)} of {width} columns")
    try:
        numbers = [float(row[place]) for place in places]
    except ValueError as error:
        raise DataError(f"line {line} of the data holds a value that is not a number") from error
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"line {line} of the data holds a value that is not a number")
    return numbers
