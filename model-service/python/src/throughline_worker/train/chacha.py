"""The random numbers of the Rust trainer: ChaCha with 8 rounds, seeded and drawn from as the crate `rand` 0.10 does it.

Both languages then hold out the same rows for the same seed, so that their accuracies are about the same wines and
neither model has learnt what the other is asked. Cipher: RFC 8439 with 64-bit counter and nonce, and 8 rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from typing import TypeVar

T = TypeVar("T")

_MASK = 0xFFFF_FFFF
_CONSTANTS = (0x6170_7865, 0x3320_646E, 0x7962_2D32, 0x6B20_6574)
_QUARTERS = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
_ROTATIONS = ((0, 1, 3, 16), (2, 3, 1, 12), (0, 1, 3, 8), (2, 3, 1, 7))


def shuffle(items: MutableSequence[T], seed: int) -> None:
    """Shuffles in place, as `SliceRandom::shuffle` does with a `ChaCha8Rng` of this seed."""
    words = _words(_key(seed))
    chunk, left = 0, 1
    for index in range(len(items)):
        # One number serves several dice, as long as the product of their sides fits into 32 bits.
        sides = index + 1
        if left == 0:
            bound, left = _bound(sides)
            chunk = _below(bound, words)
        left -= 1
        chunk, other = (0, chunk) if left == 0 else divmod(chunk, sides)
        items[index], items[other] = items[other], items[index]


def _key(seed: int) -> tuple[int, ...]:
    """Eight words out of 64 bits, by the PCG32 of `SeedableRng::seed_from_u64`."""
    state, key = seed & (2**64 - 1), []
    for _ in range(8):
        state = (state * 0x5851_F42D_4C95_7F2D + 0xA176_54E4_6FBE_17F3) & (2**64 - 1)
        shifted = (((state >> 18) ^ state) >> 27) & _MASK
        turn = state >> 59
        key.append((shifted >> turn | shifted << (32 - turn)) & _MASK)
    return tuple(key)


def _words(key: tuple[int, ...]) -> Iterator[int]:
    counter = 0
    while True:
        yield from _block((*_CONSTANTS, *key, counter & _MASK, counter >> 32, 0, 0))
        counter += 1


def _block(start: tuple[int, ...]) -> list[int]:
    state = list(start)
    for _ in range(4):
        for quarter in _QUARTERS:
            for into, other, turned, bits in _ROTATIONS:
                a, b, d = quarter[into], quarter[other], quarter[turned]
                state[a] = (state[a] + state[b]) & _MASK
                mixed = state[d] ^ state[a]
                state[d] = (mixed << bits | mixed >> (32 - bits)) & _MASK
    return [(word + first) & _MASK for word, first in zip(state, start, strict=True)]


def _bound(sides: int) -> tuple[int, int]:
    """The largest product `sides * (sides + 1) * …` in 32 bits, and how many factors it has."""
    product, current = sides, sides + 1
    while product * current <= _MASK:
        product *= current
        current += 1
    return product, current - sides


def _below(bound: int, words: Iterator[int]) -> int:
    """A number below `bound`, by multiplication, with one more word where the first would be biased."""
    high, low = divmod(next(words) * bound, 2**32)
    if low > 2**32 - bound:
        high += low + (next(words) * bound >> 32) > _MASK
    return high
