"""Requests and responses of an inference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from throughline_worker.errors import DecodeError
from throughline_worker.oip.tensor import Tensor

# The number of bytes of a body that are JSON; the tensors follow.
HEADER_LENGTH = "inference-header-content-length"

Parameter = str | int | float | bool
Parameters = dict[str, Parameter]


@dataclass(frozen=True)
class RequestedOutput:
    """A requested output."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class InferRequest:
    """Body of `POST /v2/models/{model_name}[/versions/{model_version}]/infer`."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = field(default_factory=dict)
    # Empty means all of them.
    outputs: list[RequestedOutput] = field(default_factory=list)

    def timeout(self) -> float | None:
        """Seconds of the reserved parameter `timeout`, which is in microseconds.

        0 is no timeout, as in Triton (`TRITONSERVER_InferenceRequestSetTimeoutMicroseconds`), so
        the service's own counts.
        """
        value = self.parameters.get("timeout")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
            raise DecodeError("parameter `timeout` has an unusable value")
        return value / 1e6 if value else None

    def check_outputs(self, available: Iterable[str]) -> None:
        """Refuses a request for an output that the model does not have.

        Or for one in the form of Triton's classification extension, which would answer with other
        tensors than the client's request names.
        """
        known = frozenset(available)
        for output in self.outputs:
            if output.name not in known:
                raise DecodeError(f"the model has no output `{output.name}`")
            if "classification" in output.parameters:
                raise DecodeError(
                    "the classification extension is not supported; ask for the output"
                    " `probabilities` without the parameter `classification`"
                )

    def wants_output(self, name: str) -> bool:
        """Whether the answer should have this output."""
        return not self.outputs or any(output.name == name for output in self.outputs)

    def wants_binary(self, name: str) -> bool:
        """`binary_data` of the output, else `binary_data_output` of the request, else false."""
        asked = next((output.parameters for output in self.outputs if output.name == name), {})
        chosen = asked.get("binary_data", self.parameters.get("binary_data_output"))
        return chosen is True


@dataclass(frozen=True)
class InferResponse:
    """Body of a successful answer."""

    model_name: str
    model_version: str
    id: str | None
    parameters: Parameters
    outputs: list[Tensor]
