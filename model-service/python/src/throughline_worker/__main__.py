"""`python -m throughline_worker`. The exit code is 0 if the service drained completely."""

import sys

from throughline_worker import thread_pools

# Before the first import of numpy, because BLAS and OpenMP read the size of their pools when they
# are loaded.
thread_pools.limit_threads()

from throughline_worker import logs, process  # noqa: E402
from throughline_worker.config import Config  # noqa: E402


def main() -> int:
    """Runs the service until a signal, and returns the exit code."""
    config = Config.from_arguments()
    logs.configure("model-service-python")
    return process.run(config)


if __name__ == "__main__":
    sys.exit(main())
