"""One of the other processes of the service, as the first one sees it, and as it sees itself.

It has one end of a pair of sockets as its standard input. What it writes there says that it serves.
When the other end closes, also by the first one's death, it drains and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from throughline_worker.listener import Listener

# Its parts are loaded only in a process that `opentelemetry-instrument` has started.
INSTRUMENTATION = "opentelemetry.instrumentation.auto_instrumentation"


@dataclass(eq=False)
class Sibling:
    """One that has been started."""

    process: asyncio.subprocess.Process
    # The other end of its standard input.
    line: socket.socket
    serves: bool = False

    async def reports(self) -> bool:
        """Waits until it serves; returns whether it does and has not ended before."""
        self.serves = bool(await asyncio.get_running_loop().sock_recv(self.line, 1))
        return self.serves

    def drain(self) -> None:
        """Lets it finish. One that does not serve yet has nothing to finish."""
        if self.serves:
            self.line.close()
        else:
            self.kill()

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    @property
    def has_drained(self) -> bool:
        """Whether it has ended without giving a request up."""
        return self.process.returncode == 0 or not self.serves

    @property
    def end(self) -> str:
        """How it ended."""
        code = self.process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


@contextlib.asynccontextmanager
async def started(listener: Listener, place: int) -> AsyncIterator[Sibling]:
    """Starts one for the length of a block. Raises `OSError`."""
    descriptors = listener.fileno(), listener.counts.descriptor
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *_command(*descriptors, place),
                stdin=theirs.fileno(),
                pass_fds=descriptors,
                env=_environment(),
                # So that Ctrl-C in a terminal reaches the first one only.
                start_new_session=True,
            )
        yield Sibling(process, ours)


def report() -> None:
    """Tells the first process that this one serves."""
    # Without the first one, standard input has ended, and the service drains.
    with contextlib.suppress(OSError):
        os.write(sys.stdin.fileno(), b".")


def _command(listener: int, counts: int, place: int) -> list[str]:
    """The command line of this process, with what is different for the others."""
    own = ["--processes", "1", "--exit-with-parent", "--inherited", f"{listener},{counts},{place}"]
    return [sys.executable, *sys.orig_argv[1:], *own]


def _environment() -> dict[str, str]:
    """The environment of this process, in which the others are instrumented if this one is.

    `opentelemetry-instrument` removes itself from PYTHONPATH, because a program that is started by
    another is seldom meant to be instrumented like it.
    """
    environment = dict(os.environ)
    loaded = getattr(sys.modules.get(INSTRUMENTATION), "__file__", None)
    if loaded:
        paths = [str(Path(loaded).parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
