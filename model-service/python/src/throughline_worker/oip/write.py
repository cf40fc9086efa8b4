"""From responses to bytes: the requested outputs, each in its requested form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from throughline_worker.oip import binary, values
from throughline_worker.oip.message import InferRequest, InferResponse

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Encoded:
    """A body that is ready to send."""

    # JSON, followed by the binary tensors.
    body: bytes
    # Value of the header for the length of the JSON; `None` when no tensor follows it.
    header_length: int | None

    @property
    def content_type(self) -> str:
        """What clients expect of this body."""
        return "application/json" if self.header_length is None else "application/octet-stream"


def encode_for(request: InferRequest, response: InferResponse) -> Encoded:
    """Writes a response in the forms that the request asks for."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor in response.outputs:
        if not request.wants_output(tensor.name):
            continue
        output: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype.value,
        }
        if request.wants_binary(tensor.name):
            tail.append(binary.write(tensor))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values.write(tensor)
        outputs.append(output)
    head = _ENCODER.encode(_message(response, outputs)).encode()
    return Encoded(b"".join([head, *tail]), len(head) if tail else None)


def _message(response: InferResponse, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id is not None:
        message["id"] = response.id
    if response.parameters:
        message["parameters"] = response.parameters
    message["outputs"] = outputs
    return message
