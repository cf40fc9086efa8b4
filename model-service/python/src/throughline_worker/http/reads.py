"""The reads: metadata of the server and its models, the repository index."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from throughline_worker import __version__
from throughline_worker.errors import DecodeError, InputError, RepositoryError
from throughline_worker.http.health import Health
from throughline_worker.http.paths import find, model_name
from throughline_worker.oip.json_text import Members, has_text_names, parse
from throughline_worker.repository import Loaded, ModelRepository, ModelVersions

PLATFORM = "sklearn_skops"


class Reads:
    """The handlers of all reads."""

    def __init__(self, repository: ModelRepository, health: Health) -> None:
        self._repository = repository
        self._health = health

    async def server(self, _request: Request) -> Response:
        """`GET /v2`."""
        extensions = ["binary_tensor_data", "parameters", "model_repository"]
        return JSONResponse(
            {"name": "model-service-python", "version": __version__, "extensions": extensions}
        )

    async def models(self, _request: Request) -> Response:
        """`GET /v2/models`."""
        models = self._repository.models.items()
        served = [name for name, versions in models if not versions.choice.unloaded]
        return JSONResponse({"models": sorted(served)})

    async def ready(self, request: Request) -> Response:
        """`GET /v2/models/{model_name}[/versions/{model_version}]/ready`."""
        loaded = find(self._repository, request)
        return JSONResponse({"name": loaded.manifest.name, "ready": True})

    async def metadata(self, request: Request) -> Response:
        """`GET /v2/models/{model_name}[/versions/{model_version}]`."""
        loaded = find(self._repository, request)
        versions = self._repository.models.get(model_name(request), ModelVersions())
        inputs, outputs = _tensors(loaded)
        described = {
            "name": loaded.manifest.name,
            "versions": [str(number) for number in sorted(versions.ready)],
            "platform": PLATFORM,
            "inputs": inputs,
            "outputs": outputs,
            "training": {
                "run_id": loaded.manifest.run_id,
                "classes": loaded.manifest.classes,
                "validation_accuracy": loaded.manifest.metrics.validation_accuracy,
            },
        }
        if versions.chosen is not None:
            described["current_version"] = str(versions.chosen)
        return JSONResponse(described)

    async def config(self, request: Request) -> Response:
        """The part of Triton's model configuration that Triton's own tools need."""
        loaded = find(self._repository, request)
        inputs, outputs = _tensors(loaded)
        configuration = {
            "name": loaded.manifest.name,
            "platform": PLATFORM,
            "backend": "sklearn",
            "version_policy": {"all": {}},
            # 0: the batch dimension is part of `dims`, as in the metadata.
            "max_batch_size": 0,
            "input": [_triton_tensor(tensor) for tensor in inputs],
            "output": [_triton_tensor(tensor) for tensor in outputs],
        }
        return JSONResponse(configuration)

    async def index(self, request: Request) -> Response:
        """`POST /v2/repository/index`: refreshes the repository and lists its versions."""
        only_ready = _asks_for_ready(await request.body())
        try:
            await refresh(self._repository, self._health)
        except OSError as error:
            raise RepositoryError from error
        entries = []
        for name, versions in self._repository.models.items():
            entries += [_index_entry(name, number, "READY", "") for number in versions.ready]
            if not only_ready:
                entries += [
                    _index_entry(name, number, "UNAVAILABLE", unavailable.reason)
                    for number, unavailable in versions.unavailable.items()
                ]
                entries += [
                    _index_entry(name, number, "UNAVAILABLE", "unloaded")
                    for number in versions.idle
                ]
        return JSONResponse(entries)


async def refresh(repository: ModelRepository, health: Health) -> bool:
    """Refreshes the repository and the readiness. Returns whether any version is ready."""
    any_ready = await anyio.to_thread.run_sync(repository.refresh)
    report(repository, health)
    return any_ready


def report(repository: ModelRepository, health: Health) -> None:
    """Takes the state of the models into the readiness."""
    lines = []
    for name, versions in repository.models.items():
        if versions.current is not None:
            health.ready()
        lines += [
            f"{name} version {number}: {unavailable.reason}"
            for number, unavailable in versions.unavailable.items()
        ]
        if versions.choice.unloaded:
            lines.append(f"{name} is unloaded")
        elif versions.current is None:
            lines.append(f"{name} does not answer: {versions.reason}")
    health.detail("models", "; ".join(lines) or None)


def _asks_for_ready(sent: bytes) -> bool:
    wrong = InputError('the body is not {"ready": true|false}')
    try:
        request = parse(sent) if sent else Members([])
    except DecodeError as error:
        raise wrong from error
    ready = request.get("ready", False) if isinstance(request, Members) else None
    if not isinstance(ready, bool) or "ready" in request.repeated or not has_text_names(request):
        raise wrong
    return ready


def _index_entry(name: str, number: int, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(number), "state": state, "reason": reason}


def _tensors(loaded: Loaded) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The inputs and outputs of a model. A request has one of the inputs."""
    manifest = loaded.manifest
    inputs = [
        _tensor("data_id", "BYTES", -1),
        _tensor("features", "FP32", -1, len(manifest.features)),
    ]
    outputs = [
        _tensor("label", "BYTES", -1),
        _tensor("confidence", "FP32", -1),
        _tensor("probabilities", "FP32", -1, len(manifest.classes)),
    ]
    return inputs, outputs


def _tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _triton_tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    name = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{name}", "dims": tensor["shape"]}
