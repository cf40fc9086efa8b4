"""The compute threads: a bounded queue in front of an executor.

Each task runs in the trace context of its caller.

scikit-learn blocks the thread that it runs on, so it does not run on the event loop's, unless it
takes less time than the way to another thread and back.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from throughline_worker.deadline import Deadline
from throughline_worker.errors import DeadlinePassed, QueueFull

T = TypeVar("T")


@dataclass(frozen=True)
class ComputeOutput(Generic[T]):
    """A result, with the seconds in the queue and on the compute thread."""

    result: T
    queue: float
    compute: float


class Engine:
    """Runs tasks on threads of its own."""

    def __init__(self, threads: int, queue_capacity: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="compute")
        self._most = threads + queue_capacity
        self._tasks = 0

    async def compute(
        self, task: Callable[[], T], deadline: Deadline, is_short: bool = False
    ) -> ComputeOutput[T]:
        """Queues the task and waits for its result.

        Cancelling the caller cancels the task unless it has begun. A short task runs here.
        """
        if self._tasks >= self._most:
            raise QueueFull
        enqueued = time.perf_counter()

        def run() -> ComputeOutput[T]:
            begun = time.perf_counter()
            if deadline.has_passed:
                raise _late()
            result = task()
            return ComputeOutput(result, begun - enqueued, time.perf_counter() - begun)

        if is_short:
            return run()
        self._tasks += 1
        # So the task's spans are children of the caller's span, and its log records have the same
        # trace id.
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, contextvars.copy_context().run, run
        )
        future.add_done_callback(self._done)
        try:
            # Cheaper than a cancel scope, and nothing else is waited for here.
            await asyncio.wait([future], timeout=deadline.remaining)
            if not future.done():
                raise _late()
            return future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        """Drops the waiting tasks.

        The threads end after the running ones, without waiting for them here.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: asyncio.Future[ComputeOutput[T]]) -> None:
        self._tasks -= 1
        if not future.cancelled():
            # Retrieved, so that asyncio does not log exceptions that nobody waits for.
            future.exception()


def _late() -> DeadlinePassed:
    return DeadlinePassed("the inference failed: the deadline of the request has passed")
