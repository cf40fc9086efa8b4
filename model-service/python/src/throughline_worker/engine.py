"""The threads that compute: a bounded queue in front of an executor, the trace context carried into each job.

scikit-learn is synchronous and busy, so it stays off the event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from throughline_worker.deadline import Deadline
from throughline_worker.errors import DeadlinePassed, QueueFull

T = TypeVar("T")


@dataclass(frozen=True)
class Computed(Generic[T]):
    """A result, with the seconds in the queue and on the thread."""

    result: T
    queue: float
    compute: float


class Engine:
    """Runs jobs on threads of its own."""

    def __init__(self, threads: int, queue_capacity: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="compute")
        self._most = threads + queue_capacity
        self._jobs = 0

    async def compute(self, job: Callable[[], T], deadline: Deadline) -> Computed[T]:
        """Queues the job and waits for its result; a job that has not begun is taken back when the caller leaves."""
        if self._jobs >= self._most:
            raise QueueFull
        enqueued = time.perf_counter()

        def run() -> Computed[T]:
            begun = time.perf_counter()
            if deadline.has_passed:
                raise _late()
            result = job()
            return Computed(result, begun - enqueued, time.perf_counter() - begun)

        self._jobs += 1
        # The job's spans are children of the caller's, and its log records have the same ids.
        future = asyncio.get_running_loop().run_in_executor(self._executor, contextvars.copy_context().run, run)
        future.add_done_callback(self._done)
        try:
            with anyio.fail_after(deadline.remaining):
                return await future
        except TimeoutError as error:
            raise _late() from error

    def close(self) -> None:
        """Lets the threads end; what waits is dropped, what computes is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: asyncio.Future[Computed[T]]) -> None:
        self._jobs -= 1
        if not future.cancelled():
            # Looked at, so that asyncio does not report what nobody waits for any more.
            future.exception()


def _late() -> DeadlinePassed:
    return DeadlinePassed("the inference was not done: the deadline of the request has passed")
