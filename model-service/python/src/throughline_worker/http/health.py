"""Liveness (the process answers) and readiness (it can do its job)."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from throughline_worker.errors import Unavailable
from throughline_worker.http.answers import error_response


class Health:
    """Readiness of the service.

    It does not depend on other services: a slow one would take the whole fleet out.
    """

    def __init__(self) -> None:
        self._ready = False
        self.draining = False
        self._detail: dict[str, str] = {}
        self._probes = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._oip_ready,
        }

    @property
    def is_ready(self) -> bool:
        """Whether the service takes new requests."""
        return self._ready and not self.draining

    def ready(self) -> None:
        """Makes the service ready, for good, so that readiness does not flap."""
        self._ready = True

    def detail(self, key: str, text: str | None) -> None:
        """Sets the detail of a part that is degraded, or removes it with `None`."""
        if text is None:
            self._detail.pop(key, None)
        else:
            self._detail[key] = text

    def answer(self, method: str, path: str) -> Response | None:
        """The answer to a probe, or `None` for any other request."""
        probe = self._probes.get(path)
        return probe() if probe is not None and method in ("GET", "HEAD") else None

    def _livez(self) -> Response:
        return JSONResponse({"live": True})

    def _readyz(self) -> Response:
        body = {"ready": self.is_ready, "draining": self.draining, "detail": dict(self._detail)}
        return JSONResponse(body, 200 if self.is_ready else 503)

    def _live(self) -> Response:
        return JSONResponse({"live": True})

    def _oip_ready(self) -> Response:
        if self.is_ready:
            # The specification has `live`, KServe's client reads `ready`.
            return JSONResponse({"ready": True, "live": True})
        return error_response(Unavailable("draining" if self.draining else "no model is ready"))
