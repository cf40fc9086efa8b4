"""The exit of a process, with limited time to flush the telemetry."""

from __future__ import annotations

import atexit
import logging
import os
import threading

# The default of the services, in both languages.
FLUSH_SECONDS = 2.0


def leave(code: int, seconds: float = FLUSH_SECONDS) -> int:
    """Limits the time until the process exits with `code`, which it returns.

    The SDK flushes when the interpreter exits, and a collector that does not answer must not
    delay the exit for long.
    """
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
    # The instrumentation's log handler flushes on a thread of its own. From Python 3.12 on no
    # thread can start when the interpreter calls this itself:
    # https://github.com/open-telemetry/opentelemetry-python/issues/4752
    logging.shutdown()
    atexit.unregister(logging.shutdown)
    return code
