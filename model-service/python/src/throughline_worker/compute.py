"""Threads of the numeric libraries, which know nothing of a server around them."""

import os

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads() -> None:
    """Gives BLAS and OpenMP one thread each, unless the environment says otherwise.

    A batch of some rows is too small to share, and one pool of as many threads as cores per request in flight would
    spend its time waiting for itself.
    """
    for pool in POOLS:
        os.environ.setdefault(pool, "1")
