"""The model that a request is about."""

from __future__ import annotations

from starlette.requests import Request

from throughline_worker.repository import Catalog, Loaded


def find(catalog: Catalog, request: Request) -> Loaded:
    """The model and version of the address; without a version the highest one."""
    return catalog.find(model_name(request), request.path_params.get("model_version"))


def model_name(request: Request) -> str:
    """The name in the address."""
    name: str = request.path_params["model_name"]
    return name
