"""The whole service as one ASGI application."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from throughline_worker.config import Config
from throughline_worker.errors import Internal, UnknownPath, WrongMethod
from throughline_worker.features import FeatureStore
from throughline_worker.guard import Guard
from throughline_worker.http.answers import error_response
from throughline_worker.http.control import Control
from throughline_worker.http.health import Health
from throughline_worker.http.infer import InferHandler
from throughline_worker.http.layers import Edge, Front, Limits
from throughline_worker.http.reads import Reads
from throughline_worker.http.receive import Receiver
from throughline_worker.predict import Predictor
from throughline_worker.repository import ModelRepository

# Smaller answers fit into one packet anyway.
COMPRESS_FROM = 1024


@dataclass(frozen=True)
class Services:
    """The services that the handlers use."""

    repository: ModelRepository
    health: Health
    features: FeatureStore
    predictor: Predictor


def build(config: Config, services: Services, guard: Guard) -> ASGIApp:
    """Routes and layers.

    The auto-instrumentation adds its layer around those of the application.
    """
    app = Starlette(
        routes=_routes(config, services),
        middleware=[
            Middleware(Edge, allow_faults=config.allow_faults),
            Middleware(
                Limits,
                max_in_flight=config.max_in_flight,
                timeout=config.request_timeout,
                receiver=Receiver(config.body_timeout, config.max_slow_bodies),
            ),
            Middleware(GZipMiddleware, minimum_size=COMPRESS_FROM, compresslevel=5),
        ],
        exception_handlers={404: _unknown_path, 405: _wrong_method, Exception: _internal},
    )
    # `/v2/` is a path of its own, and a redirect would lose the body of a POST.
    app.router.redirect_slashes = False
    return Front(app, services.health, guard)


def _routes(config: Config, services: Services) -> list[Route]:
    reads = Reads(services.repository, services.health)
    inference = InferHandler(services.repository, services.features, services.predictor)
    control = Control(services.repository, services.health, config.allow_model_control)
    model = "/v2/models/{model_name}"
    controlled = "/v2/repository/models/{model_name}"
    version = f"{model}/versions/{{model_version}}"
    # By default tritonclient sends an empty version.
    no_version = f"{model}/versions/"
    return [
        Route(f"{model}/infer", inference.infer, methods=["POST"]),
        Route(f"{version}/infer", inference.infer, methods=["POST"]),
        Route(f"{no_version}/infer", inference.infer, methods=["POST"]),
        Route("/v2", reads.server),
        Route("/v2/", reads.server),
        Route("/v2/models", reads.models),
        Route(model, reads.metadata),
        Route(f"{model}/ready", reads.ready),
        Route(f"{model}/config", reads.config),
        Route(version, reads.metadata),
        Route(f"{version}/ready", reads.ready),
        Route(f"{version}/config", reads.config),
        Route(no_version, reads.metadata),
        Route(f"{no_version}/ready", reads.ready),
        Route(f"{no_version}/config", reads.config),
        Route("/v2/repository/index", reads.index, methods=["POST"]),
        Route(f"{controlled}/load", control.load, methods=["POST"]),
        Route(f"{controlled}/unload", control.unload, methods=["POST"]),
    ]


async def _internal(_request: Request, _error: Exception) -> Response:
    return error_response(Internal())


async def _unknown_path(_request: Request, _error: Exception) -> Response:
    return error_response(UnknownPath())


async def _wrong_method(_request: Request, _error: Exception) -> Response:
    return error_response(WrongMethod())
