"""Tensor data as raw bytes: little-endian, row-major; BYTES as length (u32) and bytes."""

from __future__ import annotations

from struct import Struct

import numpy as np

from throughline_worker.errors import DecodeError
from throughline_worker.oip.datatypes import Datatype
from throughline_worker.oip.tensor import Tensor, element_count, not_an_element, wrong_count

_LENGTH = Struct("<I")


def read(name: str, shape: tuple[int, ...], datatype: Datatype, raw: memoryview) -> Tensor:
    """Reads one tensor from exactly `raw`."""
    count = element_count(name, shape)
    if datatype is Datatype.BYTES:
        return Tensor(name, datatype, shape, _elements(name, count, raw))
    expected = count * datatype.dtype.itemsize
    if len(raw) != expected:
        raise DecodeError(f"tensor `{name}` should have {expected} bytes and has {len(raw)}")
    if datatype is Datatype.BOOL:
        _check_bools(name, raw)
    return Tensor(name, datatype, shape, np.frombuffer(raw, dtype=datatype.dtype))


def write(tensor: Tensor) -> bytes:
    """The bytes of a tensor."""
    if isinstance(tensor.data, list):
        return b"".join(part for item in tensor.data for part in (_LENGTH.pack(len(item)), item))
    return tensor.data.tobytes()


def _elements(name: str, count: int, raw: memoryview) -> list[bytes]:
    truncated = DecodeError(f"the binary data of tensor `{name}` runs past the end of the body")
    data = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH.size
        if start > len(raw):
            raise truncated
        at = start + _LENGTH.unpack_from(raw, at)[0]
        if at > len(raw):
            raise truncated
        data.append(bytes(raw[start:at]))
    if len(data) != count:
        raise wrong_count(name, count, len(data))
    return data


def _check_bools(name: str, raw: memoryview) -> None:
    wrong = np.flatnonzero(np.frombuffer(raw, dtype="u1") > 1)
    if wrong.size:
        raise not_an_element(name, int(wrong[0]), Datatype.BOOL)
