"""A service without a line of telemetry: docs/recipes/python-zero-code.md."""

import logging

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

logger = logging.getLogger("greeter")


async def greet(request: Request) -> PlainTextResponse:
    """Greets, and asks itself for the name first."""
    async with httpx.AsyncClient(base_url=str(request.base_url)) as client:
        answer = await client.get(f"/names/{request.path_params['number']}")
    logger.warning("greeting number %s", request.path_params["number"])
    return PlainTextResponse(f"Hello, {answer.text}!\n")


async def name(request: Request) -> PlainTextResponse:
    """Knows one name."""
    return PlainTextResponse("Ada")


app = Starlette(routes=[Route("/greetings/{number}", greet), Route("/names/{number}", name)])
