"""A tensor with typed data in row-major order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughline_worker.errors import DecodeError
from throughline_worker.oip.datatypes import Datatype

# More dimensions than any model has; the limit bounds the work for a hostile shape.
MAX_DIMENSIONS = 16
# What a 64-bit machine can address, because Python's integers do not overflow.
MAX_ELEMENTS = 2**63


@dataclass(frozen=True)
class Tensor:
    """A named tensor.

    What is decoded has been checked: the product of `shape` is the number of elements.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    # Flat: an array, or for BYTES a list of elements.
    data: NDArray[Any] | list[bytes]

    @classmethod
    def of_texts(cls, name: str, texts: Iterable[str]) -> Tensor:
        """A tensor of BYTES of shape [n]."""
        data = [text.encode() for text in texts]
        return cls(name, Datatype.BYTES, (len(data),), data)

    @classmethod
    def of_floats(cls, name: str, array: NDArray[np.float32]) -> Tensor:
        """A tensor of FP32 with the shape of the array."""
        return cls(
            name, Datatype.FP32, array.shape, np.ascontiguousarray(array, dtype="<f4").reshape(-1)
        )

    def texts(self) -> list[str]:
        """The elements of BYTES as text; an error if one is not UTF-8."""
        found = []
        for index, item in enumerate(self.data):
            try:
                found.append(item.decode())
            except UnicodeDecodeError as error:
                raise not_an_element(self.name, index, self.datatype) from error
        return found


def element_count(name: str, shape: tuple[int, ...]) -> int:
    """The product of a shape; raises `DecodeError` if it is too large."""
    count = prod(shape) if len(shape) <= MAX_DIMENSIONS else MAX_ELEMENTS
    if count >= MAX_ELEMENTS:
        raise DecodeError(f"the shape of tensor `{name}` is too large")
    return count


def not_an_element(name: str, index: int, datatype: Datatype) -> DecodeError:
    """The error for an element of another type."""
    return DecodeError(f"element {index} of tensor `{name}` is not a {datatype.value}")


def wrong_count(name: str, expected: int, found: int) -> DecodeError:
    """The error for data that do not have the shape."""
    return DecodeError(f"tensor `{name}` should have {expected} elements and has {found}")
