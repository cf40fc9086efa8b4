"""The model in the path of a request."""

from __future__ import annotations

from starlette.requests import Request

from throughline_worker.repository import Loaded, ModelRepository


def find(repository: ModelRepository, request: Request) -> Loaded:
    """The version in the path, or without one the highest."""
    return repository.find(model_name(request), request.path_params.get("model_version"))


def model_name(request: Request) -> str:
    """The name in the path."""
    name: str = request.path_params["model_name"]
    return name
