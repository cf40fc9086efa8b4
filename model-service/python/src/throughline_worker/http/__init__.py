"""The paths of the Open Inference Protocol, and the layers around them."""

from throughline_worker.http.app import Services, build
from throughline_worker.http.health import Health

__all__ = ["Health", "Services", "build"]
