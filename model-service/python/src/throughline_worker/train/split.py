"""The split into a training part and a validation part, the same as in the Rust trainer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from throughline_worker.train.data import Examples

MOST = 2**64 - 1


@dataclass(frozen=True)
class Split:
    """The two parts."""

    training: Examples
    validation: Examples


def split(examples: Examples, parts: int, seed: int) -> Split:
    """About one row in `parts` goes to the validation part."""
    validation = [is_validation(features, parts, seed) for features in examples.features]
    chosen = np.array(validation, dtype=bool)
    return Split(examples.take(~chosen), examples.take(chosen))


def is_validation(features: NDArray[np.float32], parts: int, seed: int) -> bool:
    """Whether the hash of seed and row falls into the lowest of `parts` equal ranges.

    Equal rows get equal hashes, so none of the data set's 240 repeated wines is on both sides.
    The Rust trainer decides in the same way, in `training/split.rs`; a file of expected rows
    tests both.
    """
    digest = hashlib.sha256(seed.to_bytes(8, "little") + features.astype("<f4").tobytes()).digest()
    return int.from_bytes(digest[:8], "big") < MOST // parts
