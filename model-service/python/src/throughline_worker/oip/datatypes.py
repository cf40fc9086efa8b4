"""The datatypes of the protocol and the sizes of their elements."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import DTypeLike


class Datatype(str, Enum):
    """Type of the elements of a tensor; the value is the name on the wire."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The little-endian numpy type; BF16, which numpy lacks, is carried as its 16 bits.

        Not for BYTES.
        """
        return np.dtype(_DTYPES[self])

    @property
    def is_integer(self) -> bool:
        """Whether the elements are whole numbers."""
        return self.value.startswith(("INT", "UINT"))

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest value, of integers only."""
        bits = 8 * self.dtype.itemsize
        return (
            (0, 2**bits - 1)
            if self.value.startswith("U")
            else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )

    @property
    def has_json_form(self) -> bool:
        """FP16 and BF16 are binary only."""
        return self not in (Datatype.FP16, Datatype.BF16)


_DTYPES: dict[Datatype, DTypeLike] = {
    Datatype.BOOL: "?",
    Datatype.UINT8: "u1",
    Datatype.UINT16: "<u2",
    Datatype.UINT32: "<u4",
    Datatype.UINT64: "<u8",
    Datatype.INT8: "i1",
    Datatype.INT16: "<i2",
    Datatype.INT32: "<i4",
    Datatype.INT64: "<i8",
    Datatype.FP16: "<f2",
    Datatype.BF16: "<u2",
    Datatype.FP32: "<f4",
    Datatype.FP64: "<f8",
}
