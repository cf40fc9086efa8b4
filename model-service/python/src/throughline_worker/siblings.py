"""More processes of the service: the first one starts them, and starts again what dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from throughline_worker import logs
from throughline_worker.config import Config
from throughline_worker.listener import Listener
from throughline_worker.sibling import Sibling, started

# Seconds until one that has died is started again; doubled each time, unless it lived for long.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONG_LIFE = 60.0
# Seconds that one may take to end, beyond its own limits.
MARGIN = 2.0

_log = logging.getLogger(__name__)


class Siblings:
    """The other processes, as the first one sees them. They themselves have none."""

    def __init__(self, config: Config, listener: Listener) -> None:
        self._listener = listener
        self._limit = config.drain_timeout + config.flush_timeout + MARGIN
        self._running: set[Sibling] = set()
        self._draining = asyncio.Event()
        self._deadline = 0.0
        places = range(1, config.processes)
        self._kept = [asyncio.create_task(self._keep(place)) for place in places]

    def drain(self) -> None:
        """Lets all of them finish."""
        self._deadline = asyncio.get_running_loop().time() + self._limit
        self._draining.set()
        for sibling in self._running:
            sibling.drain()

    def kill(self) -> None:
        """Ends all of them at once."""
        for sibling in self._running:
            sibling.kill()

    async def drained(self) -> bool:
        """Waits for the end of all; returns whether none had to give a request up."""
        if self._kept:
            rest = self._deadline - asyncio.get_running_loop().time()
            _, late = await asyncio.wait(self._kept, timeout=max(0.0, rest))
            if late:
                error = f"{len(late)} of its processes did not end and are killed"
                text = f"model-service-python stops: {error}"
                logs.event(_log, logging.ERROR, "server.failed", text, {"error": error})
            self.kill()
        return all(await asyncio.gather(*self._kept))

    async def _keep(self, place: int) -> bool:
        """Has one running until the drain; returns whether it drained."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while not self._draining.is_set():
            began = loop.time()
            try:
                sibling = await self._run(place)
            except OSError as error:  # no memory for it, or too many processes or files
                _warn("a process cannot be started", str(error), pause, {})
            else:
                if self._draining.is_set():
                    return sibling.has_drained
                if loop.time() - began >= LONG_LIFE:
                    pause = FIRST_PAUSE
                fields = {"process.pid": sibling.process.pid}
                _warn("a process has ended", sibling.end, pause, fields)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._draining.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    async def _run(self, place: int) -> Sibling:
        """Starts one, and returns it when it has ended. Raises `OSError`."""
        async with started(self._listener, place) as sibling:
            self._running.add(sibling)
            if self._draining.is_set():
                sibling.kill()
            if await sibling.reports():
                text = "another process of model-service-python serves"
                fields = {"process.pid": sibling.process.pid}
                logs.event(_log, logging.INFO, "server.process_started", text, fields)
            await sibling.process.wait()
            self._running.discard(sibling)
            self._listener.counts.remove(place)
        return sibling


def _warn(what: str, error: str, pause: float, fields: dict[str, int]) -> None:
    text = f"{what} of model-service-python ({error}); the next one starts in {pause:g} s"
    logs.event(_log, logging.WARNING, "server.process_ended", text, {"error": error, **fields})
