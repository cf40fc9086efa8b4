"""From bytes to requests. Any bytes give a request or a `DecodeError`."""

from __future__ import annotations

import re
from typing import Any

from throughline_worker.errors import DecodeError
from throughline_worker.oip import binary, values
from throughline_worker.oip.datatypes import Datatype
from throughline_worker.oip.json_text import (
    Members,
    has_text_names,
    is_parameter,
    is_text,
    malformed,
    parse,
)
from throughline_worker.oip.message import InferRequest, Parameters, RequestedOutput
from throughline_worker.oip.tensor import Tensor

# The members that are read. Others are skipped, also when they are given twice.
_MESSAGE = frozenset({"id", "parameters", "inputs", "outputs"})
_TENSOR = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT = frozenset({"name", "parameters"})

_LENGTH = re.compile(r"\s*(\d{1,20})\s*", re.ASCII)


def decode(body: bytes, header_length: int | None) -> InferRequest:
    """Reads a decompressed request body: `header_length` bytes of JSON, then tensors in order."""
    if header_length == 0:
        raise DecodeError("a raw binary request needs a model with exactly one input")
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise DecodeError(
            f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes"
        )
    message = _Fields(parse(body[:length]), "the message", _MESSAGE)
    return InferRequest(
        inputs=_inputs(message, _Tail(memoryview(body)[length:])),
        id=message.text("id") if message.has("id") else None,
        parameters=message.parameters(),
        outputs=_outputs(message),
    )


def parse_header_length(value: str) -> int:
    """Reads the header for the length of the JSON: decimal digits only."""
    match = _LENGTH.fullmatch(value)
    number = int(match[1]) if match else -1
    if not 0 <= number < 2**64:
        raise DecodeError("Inference-Header-Content-Length is not a number")
    return number


class _Tail:
    """The binary part of a body, taken piece by piece."""

    def __init__(self, rest: memoryview) -> None:
        self.rest = rest

    def take(self, name: str, size: int) -> memoryview:
        if size > len(self.rest):
            raise DecodeError(f"the binary data of tensor `{name}` runs past the end of the body")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


class _Fields:
    """The members of a JSON object. Unknown ones are ignored: the kserve client sends some."""

    def __init__(self, value: Any, what: str, known: frozenset[str]) -> None:
        if not isinstance(value, Members):
            raise malformed(f"{what} is not an object")
        if not has_text_names(value):
            raise malformed(f"a name in {what} is not UTF-8")
        for name in known & value.repeated:
            raise malformed(f"`{name}` of {what} is given twice")
        self._members = value
        self._what = what

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> Any:
        return self._members.get(name)

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not is_text(value):
            raise malformed(f"`{name}` of {self._what} is not a string")
        return value

    def objects(self, name: str, what: str, known: frozenset[str]) -> list[_Fields]:
        value = self.get(name)
        if not isinstance(value, list):
            raise malformed(f"`{name}` of {self._what} is not a list")
        return [_Fields(item, what, known) for item in value]

    def shape(self) -> tuple[int, ...]:
        value = self.get("shape")
        sizes = value if isinstance(value, list) else [None]
        if any(
            isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 2**64
            for size in sizes
        ):
            raise malformed(f"`shape` of {self._what} is not a list of sizes")
        return tuple(sizes)

    def parameters(self) -> Parameters:
        value = self.get("parameters")
        if value is None:
            return {}
        if not isinstance(value, Members) or not all(map(is_parameter, value.values())):
            raise malformed(f"`parameters` of {self._what} are not strings, numbers and booleans")
        if value.repeated or not has_text_names(value):
            raise malformed(f"a name in `parameters` of {self._what} is given twice or not UTF-8")
        return dict(value)


def _inputs(message: _Fields, tail: _Tail) -> list[Tensor]:
    tensors: dict[str, Tensor] = {}
    for fields in message.objects("inputs", "an input", _TENSOR):
        tensor = _tensor(fields, tail)
        if tensor.name in tensors:
            raise DecodeError(f"tensor `{tensor.name}` is given twice")
        tensors[tensor.name] = tensor
    if len(tail.rest):
        raise DecodeError(f"{len(tail.rest)} bytes are left over after the last tensor")
    return list(tensors.values())


def _tensor(fields: _Fields, tail: _Tail) -> Tensor:
    name, shape = fields.text("name"), fields.shape()
    try:
        datatype = Datatype(fields.text("datatype"))
    except ValueError as error:
        raise malformed(f"the datatype of tensor `{name}` is not known") from error
    size = fields.parameters().get("binary_data_size")
    if size is None:
        if not fields.has("data"):
            raise DecodeError(f"tensor `{name}` has no data")
        return values.read(name, shape, datatype, fields.get("data"))
    if fields.has("data"):
        raise DecodeError(f"tensor `{name}` has both JSON and binary data")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise DecodeError(f"binary_data_size of tensor `{name}` is not a size")
    return binary.read(name, shape, datatype, tail.take(name, size))


def _outputs(message: _Fields) -> list[RequestedOutput]:
    if not message.has("outputs"):
        return []
    asked = message.objects("outputs", "an output", _OUTPUT)
    return [RequestedOutput(fields.text("name"), fields.parameters()) for fields in asked]
