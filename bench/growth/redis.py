"""What the tables ask of a Redis, over its own protocol."""

import re
import socket
import urllib.parse
from collections.abc import Iterable

from growth.table import batches
from load.processes import Usage

# Commands that are sent before their answers are read.
BATCH = 1000


def encoded(command: Iterable[str]) -> bytes:
    """A command as a list of texts."""
    parts = [part.encode() for part in command]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


class Redis:
    """A server without a password; its number of a database may be in the address."""

    def __init__(self, url: str) -> None:
        address = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((address.hostname or "127.0.0.1", address.port or 6379), timeout=60)
        self.answers = self.socket.makefile("rb")
        if database := address.path.strip("/"):
            self.pipeline([("SELECT", database)])

    def pipeline(self, commands: Iterable[tuple[str, ...]]) -> None:
        """Commands whose answers are one line each."""
        for batch in batches(commands, BATCH):
            self.socket.sendall(b"".join(map(encoded, batch)))
            for _ in batch:
                if (line := self.answers.readline())[:1] not in (b":", b"+"):
                    raise SystemExit(f"Redis answers {line.decode()}")

    def information(self, section: str) -> dict[str, str]:
        """A section of what Redis says of itself."""
        self.socket.sendall(encoded(("INFO", section)))
        length = int(self.answers.readline()[1:])
        text = self.answers.read(length + 2).decode()
        return dict(re.findall(r"(\w+):(\S*)", text))

    def used_memory(self) -> int:
        """Bytes."""
        return int(self.information("memory")["used_memory"])

    def usage(self) -> Usage:
        """CPU time; the switches are not known."""
        cpu = self.information("cpu")
        return Usage(float(cpu["used_cpu_user"]), float(cpu["used_cpu_sys"]), 0)
