"""Which rows of a mini batch a rank computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shard:
    """A rank's rows of one mini batch.

    Every shard of a training has the same length, so that JAX compiles one program: what is short
    is filled with the first row, with a weight of 0.
    """

    rows: NDArray[np.uint32]
    # 1 / (rows of the whole mini batch) for a row that counts, so that a sum over all ranks is the
    # mean over the mini batch.
    weights: NDArray[np.float32]


def shards(order: NDArray[np.uint32], batch_size: int, rank: int, ranks: int) -> Iterator[Shard]:
    """The rank's shard of each mini batch: every `ranks`-th row, beginning with its number."""
    length = -(-min(batch_size, len(order)) // ranks)
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        own = batch[rank::ranks]
        rows = np.zeros(length, dtype=np.uint32)
        weights = np.zeros(length, dtype=np.float32)
        rows[: len(own)] = own
        weights[: len(own)] = np.float32(1.0 / len(batch))
        yield Shard(rows, weights)
