"""The servers of the Open Inference Protocol, and the services that a request passes on its way."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.system import System, has_python

MODEL = "wine_quality"


@dataclass(frozen=True)
class Target:
    """One way to a model: an address, headers that choose it, and the services between caller and features."""

    name: str
    python: bool = False
    through_gateway: bool = False
    variant: str | None = None

    @property
    def service(self) -> str:
        """`service.name` of the model service that answers."""
        return "model-service-python" if self.python else "model-service"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that choose this target, new each time, since tritonclient changes its argument."""
        return {} if self.variant is None else {"baggage": f"ml.variant={self.variant}"}

    @property
    def services(self) -> list[str]:
        """The services whose SERVER spans a request for data ids passes, from the caller's side."""
        return ["gateway"] * self.through_gateway + [self.service, "feature-store"]

    def url(self, system: System) -> str:
        """Return the URL for the client."""
        if self.through_gateway:
            return system.gateway
        if self.python:
            assert system.model_service_python is not None
            return system.model_service_python
        return system.model_service


RUST = Target("model service")
PYTHON = Target("Python model service", python=True)
GATEWAY = Target("gateway", through_gateway=True, variant="primary")
CANARY = Target("gateway, variant canary", python=True, through_gateway=True, variant="canary")


def targets() -> Sequence[Target]:
    """Return the targets of this run."""
    return (RUST, PYTHON, GATEWAY, CANARY) if has_python() else (RUST, GATEWAY)
