"""The service as a process: it binds, serves, drains, flushes its telemetry and exits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn

from throughline_worker import features, files, logs
from throughline_worker.config import Config
from throughline_worker.engine import Engine
from throughline_worker.features import FeatureStore
from throughline_worker.guard import Guard, is_loopback
from throughline_worker.http import Health, Services, build
from throughline_worker.http.connection import Connection, ConnectionLimits
from throughline_worker.http.reads import refresh
from throughline_worker.leave import leave
from throughline_worker.listener import QUEUE, Listener, accepts, obtain
from throughline_worker.predict import Predictor
from throughline_worker.repository import ModelRepository
from throughline_worker.sibling import report
from throughline_worker.siblings import Siblings

# Seconds between two refreshes of the repository; one costs some `readdir` calls.
REFRESH_EVERY = 2.0

_log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Serves until a signal or the parent's end, and returns the exit code."""
    files.raise_limit()
    try:
        listener = obtain(config)
    except OSError as error:
        host, port = config.listen
        reason = error.strerror or error
        text = f"cannot listen on {host}:{port}; choose another address with --listen: {reason}"
        logs.event(_log, logging.ERROR, "server.failed", text, {"error": str(error)})
        return leave(1, config.flush_timeout)
    drained = asyncio.run(_serve(config, listener))
    return leave(0 if drained else 1, config.flush_timeout)


async def _serve(config: Config, listener: Listener) -> bool:
    """Serves on `listener`, then drains; returns whether every request in flight was answered."""
    siblings = Siblings(config, listener)
    async with _services(config) as services:
        host = listener.getsockname()[0]
        guard = Guard(host, config.allowed_hosts)
        server = _Server(config, services, guard, listener, siblings)
        server.stop_on_signals()
        if config.is_first:
            _announce(listener)
        # What is there now stays. Without this each full collection, for which the spans of a few
        # hundred requests are enough, would go through all objects of scikit-learn.
        gc.collect()
        gc.freeze()
        listener.counts.begin()
        if not config.is_first:
            report()
        await server.serve(sockets=[listener])
        if not server.drained:
            _tell_undrained(config)
        # The others have drained at the same time, and now end.
        drained = await siblings.drained() and server.drained
        if drained and config.is_first:
            text = "model-service-python has drained and stops"
            logs.event(_log, logging.INFO, "server.stopped", text)
        return drained


def _announce(listener: Listener) -> None:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not is_loopback(host):
        text = "anybody who reaches this address can use it: there is no authentication"
        message = f"{address} is beyond loopback; {text}"
        logs.event(_log, logging.WARNING, "server.exposed", message, {"address": address})
    url = f"http://{address}"
    text = f"model-service-python listens on {url}"
    logs.event(_log, logging.INFO, "server.listening", text, {"url": url})


def _tell_undrained(config: Config) -> None:
    milliseconds = f"{config.drain_timeout * 1000:.0f} ms"
    error = f"requests were still in flight after {milliseconds} of draining"
    text = f"model-service-python stops: {error}"
    logs.event(_log, logging.ERROR, "server.failed", text, {"error": error})


@contextlib.asynccontextmanager
async def _services(config: Config) -> AsyncIterator[Services]:
    health, repository = Health(), ModelRepository(config.model_repository)
    if not await refresh(repository, health):
        text = f"no model to serve in {config.model_repository}; waiting for one to appear"
        logs.event(_log, logging.WARNING, "model.none", text)
    engine = Engine(config.compute_threads, config.queue_capacity)
    watching = asyncio.create_task(_watch(repository, health))
    try:
        address = config.feature_store
        async with features.client(config.max_in_flight, address.credentials) as client:
            store = FeatureStore(client, address.url, config.feature_timeout)
            yield Services(repository, health, store, Predictor(engine, config.variant))
    finally:
        watching.cancel()
        engine.close()


async def _watch(repository: ModelRepository, health: Health) -> None:
    """Loads new versions while the service runs."""
    while True:
        await asyncio.sleep(REFRESH_EVERY)
        try:
            await refresh(repository, health)
        except OSError as error:
            # The loaded versions stay in service; the volume may come back.
            text = f"the model repository cannot be read: {error}"
            logs.event(_log, logging.WARNING, "model.refresh_failed", text, {"error": str(error)})


class _Server(uvicorn.Server):
    """A server of uvicorn with our handling of signals and our drain."""

    def __init__(
        self,
        config: Config,
        services: Services,
        guard: Guard,
        listener: Listener,
        siblings: Siblings,
    ) -> None:
        limits = ConnectionLimits(files.connections(config.max_connections), config.write_timeout)
        settings = uvicorn.Config(
            build(config, services, guard),
            http=functools.partial(  # type: ignore[arg-type]
                Connection, limits=limits, counts=listener.counts
            ),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            # asyncio's name for how many connections it accepts in a row.
            backlog=accepts(config),
            # After a large body the event loop keeps reading the connection in the context of that
            # request. Without this the next request would start in the same trace.
            reset_contextvars=True,
            # Until the next head begins; `Connection` also uses it for the time until the head is
            # complete.
            timeout_keep_alive=config.header_timeout,  # type: ignore[arg-type]
        )
        super().__init__(settings)
        self._health = services.health
        self._listener = listener
        self._siblings = siblings
        self._drain_timeout = config.drain_timeout
        self._with_parent = config.exit_with_parent
        self.drained = False

    def stop_on_signals(self) -> None:
        """Stops on SIGINT, SIGTERM or the parent's exit; a second signal exits at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._stop)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop))
        if self._with_parent:
            # What the parent writes is ignored; only the end of the pipe counts.
            threading.Thread(target=self._wait_for_parent, args=(loop,), daemon=True).start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: the inherited method would raise the signal again after the drain."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Stops accepting and lets requests finish within the drain timeout."""
        self._health.draining = True
        self._siblings.drain()
        self._listener.counts.end()
        # Connections in the kernel's queue are established for their clients, and each turn of the
        # loop accepts some. It ends, even if others never stop coming.
        for _ in range(QUEUE):
            await asyncio.sleep(0)
            if not self._listener.has_waiting():
                break
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + self._drain_timeout
        # Polled, because uvicorn has no event for the end of a connection.
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # A connection without a complete request, such as half a head, does not count as undrained.
        tasks = list(self.server_state.tasks)
        self.drained = not tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self) -> None:
        if self.should_exit:
            self._siblings.kill()
            os._exit(130)
        self.should_exit = True

    def _wait_for_parent(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(sys.stdin.fileno(), 64):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(setattr, self, "should_exit", True)
