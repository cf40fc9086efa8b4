"""Servers of others, and Throughline's Python worker, which bench/paths.py measures on the same load."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from load.telemetry import Telemetry
from peers import fastapi, feast_serve, kserve, worker

# From the folder of environments and the setting of telemetry to the address and the process of a server that runs.
Start = Callable[[pathlib.Path, Telemetry], contextlib.AbstractContextManager[tuple[str, int]]]


class Peer(NamedTuple):
    """A server, what it answers, and whether it is traced as the setting says or never."""

    paths: tuple[str, ...]
    traced: bool
    start: Start


PEERS = {
    "kserve": Peer(("infer",), False, kserve.start),
    "feast": Peer(("features-1", "features-50"), False, feast_serve.start),
    "fastapi": Peer(("infer",), True, fastapi.start),
    "worker": Peer(("infer",), True, worker.start),
    "worker-2": Peer(("infer",), True, worker.several(2)),
    "worker-4": Peer(("infer",), True, worker.several(4)),
}
