"""`POST /v2/repository/models/{model_name}/load` and `…/unload`.

By Triton's model repository extension: `docs/protocol/extension_model_repository.md` in
triton-inference-server/server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from throughline_worker.errors import (
    DecodeError,
    InputError,
    ModelControlOff,
    RepositoryError,
    UnknownVersion,
)
from throughline_worker.http.health import Health
from throughline_worker.http.paths import model_name
from throughline_worker.http.reads import report
from throughline_worker.oip.json_text import Members, has_text_names, is_parameter, parse
from throughline_worker.repository import ModelRepository
from throughline_worker.repository.write import version_number

# Our own parameter of a load: the version to serve; without it the newest is served.
VERSION = "version"
# No model here depends on another, so its value does not matter.
UNLOAD_DEPENDENTS = "unload_dependents"


class Control:
    """The handlers of both calls."""

    def __init__(self, repository: ModelRepository, health: Health, allowed: bool) -> None:
        self._repository = repository
        self._health = health
        self._allowed = allowed

    async def load(self, request: Request) -> Response:
        """Makes a version the current one."""
        name = self._model(request)
        version = _parameter(await request.body(), VERSION)
        number = None if version is None else _number(name, version)
        return await self._change(functools.partial(self._repository.choose, name, number))

    async def unload(self, request: Request) -> Response:
        """Stops serving a model."""
        name = self._model(request)
        _parameter(await request.body(), UNLOAD_DEPENDENTS)
        return await self._change(functools.partial(self._repository.unload, name))

    def _model(self, request: Request) -> str:
        if not self._allowed:
            raise ModelControlOff
        return model_name(request)

    async def _change(self, change: Callable[[], None]) -> Response:
        try:
            await anyio.to_thread.run_sync(change)
        except OSError as error:
            raise RepositoryError from error
        report(self._repository, self._health)
        return Response()


def _parameter(sent: bytes, known: str) -> Any:
    """The parameter `known` of the body, the only one that is allowed; `None` without it."""
    wrong = InputError(f'the body is not {{"parameters": {{"{known}": …}}}}')
    try:
        body = parse(sent) if sent else Members([])
    except DecodeError as error:
        raise wrong from error
    if not isinstance(body, Members) or "parameters" in body.repeated or not has_text_names(body):
        raise wrong
    parameters = body.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, Members) or parameters.repeated:
        raise wrong
    if not all(map(is_parameter, parameters.values())) or not has_text_names(parameters):
        raise wrong
    if not parameters.keys() <= {known}:
        raise InputError(f"the only parameter of this call is `{known}`")
    return parameters.get(known)


def _number(name: str, version: Any) -> int:
    """A version as text or as a number."""
    if isinstance(version, str):
        number = version_number(version)
        if number is None:
            raise UnknownVersion(name, version)
        return number
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        return version
    raise InputError("the parameter `version` is no version")
