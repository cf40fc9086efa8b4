"""Tensor data as JSON: a list, flat or nested like the shape, in row-major order."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from throughline_worker.errors import DecodeError
from throughline_worker.oip.datatypes import Datatype
from throughline_worker.oip.json_text import MINUS_ZERO
from throughline_worker.oip.tensor import Tensor, element_count, not_an_element, wrong_count


def read(name: str, shape: tuple[int, ...], datatype: Datatype, data: Any) -> Tensor:
    """Reads one tensor from a parsed JSON value."""
    count = element_count(name, shape)
    if not datatype.has_json_form:
        raise DecodeError(f"tensor `{name}` is {datatype.value}, which has a binary form only")
    flat = _flat(name, shape, data)
    if datatype is Datatype.BYTES:
        elements: Any = [_text(name, index, item) for index, item in enumerate(flat)]
    else:
        elements = _array(name, datatype, flat)
    if len(flat) != count:
        raise wrong_count(name, count, len(flat))
    return Tensor(name, datatype, shape, elements)


def write(tensor: Tensor) -> list[Any]:
    """The data as a flat list; floats with as few digits as their width needs."""
    if isinstance(tensor.data, list):
        return [item.decode() for item in tensor.data]
    if tensor.datatype is Datatype.FP32:
        # Converted to Python's float, a float32 would get more digits.
        return [float(str(value)) for value in tensor.data]
    return list(tensor.data.tolist())


def _flat(name: str, shape: tuple[int, ...], data: Any) -> list[Any]:
    """The elements as a flat list. The first one shows whether the list is nested."""
    wrong = DecodeError(f"the nested data of tensor `{name}` does not have its shape")
    if not isinstance(data, list):
        raise wrong
    if not data or not isinstance(data[0], list):
        if any(isinstance(item, list) for item in data):
            raise wrong
        return data
    level = [data]
    for depth, size in enumerate(shape):
        if any(not isinstance(item, list) or len(item) != size for item in level):
            raise wrong
        if depth + 1 < len(shape):
            level = [inner for item in level for inner in item]
    flat = [inner for item in level for inner in item]
    if any(isinstance(item, list) for item in flat):
        raise wrong
    return flat


def _text(name: str, index: int, item: Any) -> bytes:
    try:
        if isinstance(item, str):
            return item.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which is valid in JSON and not in UTF-8.
        pass
    raise not_an_element(name, index, Datatype.BYTES)


def _array(name: str, datatype: Datatype, flat: list[Any]) -> np.ndarray[Any, Any]:
    fits = _check(datatype)
    for index, item in enumerate(flat):
        if not fits(item):
            raise not_an_element(name, index, datatype)
    if datatype.is_integer:
        flat = [0 if item is MINUS_ZERO else item for item in flat]
    return np.array(flat, dtype=datatype.dtype)


def _check(datatype: Datatype) -> Callable[[Any], bool]:
    """Whether an item is an element; chosen once, because a tensor has many items."""
    if datatype is Datatype.BOOL:
        return lambda item: isinstance(item, bool)
    if datatype.is_integer:
        return functools.partial(_is_whole, datatype.limits)
    largest = _LARGEST_FP32 if datatype is Datatype.FP32 else math.inf
    return functools.partial(_is_finite, largest)


def _is_whole(limits: tuple[int, int], item: Any) -> bool:
    low, high = limits
    # For Python a bool is a number, for the protocol it is not.
    if isinstance(item, bool):
        return False
    is_whole = isinstance(item, int) or (item is MINUS_ZERO and low < 0)
    return is_whole and low <= item <= high


def _is_finite(largest: float, item: Any) -> bool:
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        return False
    try:
        return abs(float(item)) < largest
    except OverflowError:
        return False


# From here on, numbers round to infinity: half a step above the largest float32.
_LARGEST_FP32 = 2.0**128 - 2.0**103
