"""Which examples are learnt from and which are held out: the same for the same seed as in the Rust trainer."""

from __future__ import annotations

from dataclasses import dataclass

from throughline_worker.train.chacha import shuffle
from throughline_worker.train.data import Examples


@dataclass(frozen=True)
class Split:
    """The two sides."""

    training: Examples
    held_out: Examples


def split(examples: Examples, parts: int, seed: int) -> Split:
    """One part in `parts` of the rows is held out.

    Rows with equal features go to one side together: the set holds some 240 repeated wines, and a wine that was learnt
    says nothing when it is asked for again.
    """
    by_features: dict[bytes, list[int]] = {}
    for row, features in enumerate(examples.features):
        by_features.setdefault(features.tobytes(), []).append(row)
    groups = list(by_features.values())
    shuffle(groups, seed)
    wanted = len(examples) // parts
    training: list[int] = []
    held_out: list[int] = []
    for group in groups:
        # A group too large for the rest of the held-out part goes to training, a smaller one may still fit.
        side = held_out if len(held_out) + len(group) <= wanted else training
        side.extend(group)
    return Split(examples.take(training), examples.take(held_out))
