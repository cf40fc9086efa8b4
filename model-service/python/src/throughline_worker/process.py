"""How the service is a process: it binds, serves, drains, flushes its telemetry and exits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn

from throughline_worker import features, logs
from throughline_worker.config import Config
from throughline_worker.engine import Engine
from throughline_worker.features import FeatureStore
from throughline_worker.http import Health, Services, build
from throughline_worker.http.reads import refresh
from throughline_worker.leave import leave
from throughline_worker.predict import Predictor
from throughline_worker.protocol import Protocol
from throughline_worker.repository import Catalog

# How often the repository's folder is looked at for new versions, seconds: some `readdir` calls each time.
REFRESH_EVERY = 2.0

_log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Serves until a signal or the parent's end, and returns the exit code."""
    try:
        listener = _bind(config)
    except OSError as error:
        host, port = config.listen
        text = f"cannot listen on {host}:{port}; choose another address with --listen: {error.strerror or error}"
        logs.event(_log, logging.ERROR, "server.failed", text, {"error": str(error)})
        return leave(1, config.flush_timeout)
    drained = asyncio.run(_serve(config, listener))
    return leave(0 if drained else 1, config.flush_timeout)


def _bind(config: Config) -> socket.socket:
    host, port = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio knows these as TCP and sends each part of an answer at once; else the last part
    # waits 40 ms for an acknowledgement of the first.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":
        # Elsewhere it would let two servers share a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def _serve(config: Config, listener: socket.socket) -> bool:
    """Serves on `listener`, then drains; returns whether every request in flight was answered."""
    async with _services(config) as services:
        server = _Server(config, services)
        server.stop_on_signals()
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        logs.event(_log, logging.INFO, "server.listening", f"model-service-python listens on {url}", {"url": url})
        await server.serve(sockets=[listener])
        if server.drained:
            logs.event(_log, logging.INFO, "server.stopped", "model-service-python has drained and stops")
        else:
            text = f"requests were still in flight after {config.drain_timeout * 1000:.0f} ms of draining"
            logs.event(_log, logging.ERROR, "server.failed", f"model-service-python stops: {text}", {"error": text})
        return server.drained


@contextlib.asynccontextmanager
async def _services(config: Config) -> AsyncIterator[Services]:
    health, catalog = Health(), Catalog(config.model_repository)
    if not await refresh(catalog, health):
        text = f"no model to serve in {config.model_repository}; waiting for one to appear"
        logs.event(_log, logging.WARNING, "model.none", text)
    engine = Engine(config.compute_threads, config.queue_capacity)
    watching = asyncio.create_task(_watch(catalog, health))
    try:
        async with features.client(config.max_in_flight) as client:
            store = FeatureStore(client, config.feature_store, config.feature_timeout)
            yield Services(catalog, health, store, Predictor(engine, config.variant))
    finally:
        watching.cancel()
        engine.close()


async def _watch(catalog: Catalog, health: Health) -> None:
    """Picks new versions up while the service runs."""
    while True:
        await asyncio.sleep(REFRESH_EVERY)
        try:
            await refresh(catalog, health)
        except OSError as error:
            # What is loaded goes on being served; the volume may come back.
            text = f"the model repository cannot be read: {error}"
            logs.event(_log, logging.WARNING, "model.refresh_failed", text, {"error": str(error)})


class _Server(uvicorn.Server):
    """uvicorn's server with our signals and our drain."""

    def __init__(self, config: Config, services: Services) -> None:
        settings = uvicorn.Config(
            build(config, services),
            http=Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            # After a large body the event loop goes on reading the connection in the context of the request that had
            # it, and without this the next one would be born into that one's trace.
            reset_contextvars=True,
            # Until the next head; the protocol also uses it for a head that has begun.
            timeout_keep_alive=config.header_timeout,  # type: ignore[arg-type]
        )
        super().__init__(settings)
        self._health = services.health
        self._drain_timeout = config.drain_timeout
        self._with_parent = config.exit_with_parent
        self.drained = False

    def stop_on_signals(self) -> None:
        """SIGINT and SIGTERM, and standard input's end when it is the lifeline; a second signal exits at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._stop)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop))
        if self._with_parent:
            # Whatever the parent writes is of no interest, only that the pipe is still there.
            threading.Thread(target=self._wait_for_parent, args=(loop,), daemon=True).start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The inherited one would raise the signal again after the drain, and the exit code would not be 0."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Readiness off, accept stops, requests finish within the drain timeout."""
        self._health.draining = True
        # Connections that wait in the kernel's queue are made already for their clients; one turn takes them in.
        await asyncio.sleep(0)
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + self._drain_timeout
        # uvicorn tells nobody when a connection has gone.
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # Open connections that wait for nothing from us, such as half a request head, are no reason to complain.
        tasks = list(self.server_state.tasks)
        self.drained = not tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self) -> None:
        if self.should_exit:
            os._exit(130)
        self.should_exit = True

    def _wait_for_parent(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(sys.stdin.fileno(), 64):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(setattr, self, "should_exit", True)
