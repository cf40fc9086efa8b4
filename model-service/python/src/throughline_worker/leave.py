"""The last seconds of a process: what the SDK still holds gets out, or does not in time."""

from __future__ import annotations

import atexit
import logging
import os
import threading

# The default of the services, in both languages.
FLUSH_SECONDS = 2.0


def leave(code: int, seconds: float = FLUSH_SECONDS) -> int:
    """Prepares the exit with `code`, which it returns for the caller to end with.

    The SDK flushes when the interpreter ends; a collector that does not answer must not hold that for long.
    """
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
    # The instrumentation's log handler flushes on a thread of its own, which cannot be started any more when Python
    # calls this by itself (from 3.12 on; opentelemetry-python issue 4752).
    logging.shutdown()
    atexit.unregister(logging.shutdown)
    return code
