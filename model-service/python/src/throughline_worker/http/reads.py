"""What a client can ask about the server and its models."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from throughline_worker import __version__
from throughline_worker.errors import InputError, RepositoryError
from throughline_worker.http import body
from throughline_worker.http.health import Health
from throughline_worker.http.paths import find, model_name
from throughline_worker.repository import Catalog, Entry, Loaded

PLATFORM = "sklearn_skops"


class Reads:
    """The handlers of all reads."""

    def __init__(self, catalog: Catalog, health: Health) -> None:
        self._catalog = catalog
        self._health = health

    async def server(self, _request: Request) -> Response:
        """`GET /v2`."""
        extensions = ["binary_tensor_data", "parameters", "model_repository"]
        return JSONResponse({"name": "model-service-python", "version": __version__, "extensions": extensions})

    async def models(self, _request: Request) -> Response:
        """`GET /v2/models`."""
        return JSONResponse({"models": sorted(self._catalog.models)})

    async def ready(self, request: Request) -> Response:
        """`GET /v2/models/{model_name}[/versions/{model_version}]/ready`."""
        loaded = find(self._catalog, request)
        return JSONResponse({"name": loaded.manifest.name, "ready": True})

    async def metadata(self, request: Request) -> Response:
        """`GET /v2/models/{model_name}[/versions/{model_version}]`."""
        loaded = find(self._catalog, request)
        entry = self._catalog.models.get(model_name(request), Entry())
        inputs, outputs = _tensors(loaded)
        described = {
            "name": loaded.manifest.name,
            "versions": [str(number) for number in sorted(entry.versions)],
            "platform": PLATFORM,
            "inputs": inputs,
            "outputs": outputs,
        }
        return JSONResponse(described)

    async def config(self, request: Request) -> Response:
        """As much of Triton's model configuration as its own tools need to start."""
        loaded = find(self._catalog, request)
        inputs, outputs = _tensors(loaded)
        configuration = {
            "name": loaded.manifest.name,
            "platform": PLATFORM,
            "backend": "sklearn",
            "version_policy": {"all": {}},
            # 0: the batch dimension is part of `dims`, as in the metadata.
            "max_batch_size": 0,
            "input": [_triton(tensor) for tensor in inputs],
            "output": [_triton(tensor) for tensor in outputs],
        }
        return JSONResponse(configuration)

    async def index(self, request: Request) -> Response:
        """`POST /v2/repository/index`: looks at the folder again and lists what is there."""
        only_ready = _asks_for_ready(await body.read(request))
        try:
            await refresh(self._catalog, self._health)
        except OSError as error:
            raise RepositoryError from error
        lines = []
        for name, entry in self._catalog.models.items():
            lines += [_line(name, number, "READY", "") for number in entry.versions]
            if not only_ready:
                lines += [_line(name, number, "UNAVAILABLE", broken.reason) for number, broken in entry.broken.items()]
        return JSONResponse(lines)


async def refresh(catalog: Catalog, health: Health) -> bool:
    """Looks at the repository's folder again; returns whether there is anything to serve."""
    serving = await anyio.to_thread.run_sync(catalog.refresh)
    if serving:
        health.ready()
    broken = [
        f"{name} version {number}: {broken.reason}"
        for name, entry in catalog.models.items()
        for number, broken in entry.broken.items()
    ]
    health.detail("models", "; ".join(broken) or None)
    return serving


def _asks_for_ready(sent: bytes) -> bool:
    wrong = InputError('the body is not {"ready": true|false}')
    try:
        asked = json.loads(sent) if sent else {}
    except (ValueError, RecursionError) as error:
        raise wrong from error
    ready = asked.get("ready", False) if isinstance(asked, dict) else None
    if not isinstance(ready, bool):
        raise wrong
    return ready


def _line(name: str, number: int, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(number), "state": state, "reason": reason}


def _tensors(loaded: Loaded) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs of a model. A request gives one of the inputs."""
    manifest = loaded.manifest
    inputs = [_tensor("data_id", "BYTES", -1), _tensor("features", "FP32", -1, len(manifest.features))]
    outputs = [
        _tensor("label", "BYTES", -1),
        _tensor("confidence", "FP32", -1),
        _tensor("probabilities", "FP32", -1, len(manifest.classes)),
    ]
    return inputs, outputs


def _tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _triton(tensor: dict[str, Any]) -> dict[str, Any]:
    name = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{name}", "dims": tensor["shape"]}
