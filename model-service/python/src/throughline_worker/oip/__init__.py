"""Open Inference Protocol V2 over REST, with Triton's binary tensor data extension; no I/O.

Protocol: https://github.com/kserve/open-inference-protocol; binary extension:
`extension_binary_data.md` in triton-inference-server/server.
"""

from throughline_worker.oip.datatypes import Datatype
from throughline_worker.oip.message import (
    HEADER_LENGTH,
    InferRequest,
    InferResponse,
    RequestedOutput,
)
from throughline_worker.oip.read import decode, parse_header_length
from throughline_worker.oip.tensor import Tensor
from throughline_worker.oip.write import Encoded, encode_for

__all__ = [
    "HEADER_LENGTH",
    "Datatype",
    "Encoded",
    "InferRequest",
    "InferResponse",
    "RequestedOutput",
    "Tensor",
    "decode",
    "encode_for",
    "parse_header_length",
]
