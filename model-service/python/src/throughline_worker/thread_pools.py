"""The thread pools of the numeric libraries."""

import os

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads() -> None:
    """Gives BLAS and OpenMP one thread each, unless the environment says otherwise.

    A batch of some rows is too small to divide, and with a pool of as many threads as cores for
    each request in flight the threads would mostly wait for each other.
    """
    for pool in POOLS:
        os.environ.setdefault(pool, "1")
