"""The number of files that the process may have open."""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":
    import resource


def raise_limit() -> None:
    """Raises the limit to what the system allows.

    The soft limit of 1,024 that many systems set is used up by as many idle connections.
    """
    if sys.platform != "win32":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Some systems refuse the number that they name; the bound below then is lower.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def connections(wanted: int) -> int:
    """The connections that a listener may have: `wanted`, but at most half of the files."""
    if sys.platform == "win32":
        return wanted
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(1, min(wanted, limit // 2))
