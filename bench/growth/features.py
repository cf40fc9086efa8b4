"""Lookups among 10^3 and more entities, in SQLite or Redis."""

import contextlib
import json
import pathlib
import sqlite3
import tempfile
import time

from growth.predictions import ID
from growth.redis import Redis
from growth.stored import Reads, Store, grow
from growth.table import Options, traced
from load.bodies import FEATURES, NAMES, REFERENCES
from load.measure import Meter
from load.system import post

COUNTS = (1, 100)
VALUES = dict(zip(NAMES, FEATURES, strict=True))


class SqliteFeatures:
    """A file of the feature store."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file = file
        self.arguments = ["--database", f"sqlite:{file}"]
        self.meters: dict[str, Meter] = {}

    def fill(self, begin: int, end: int) -> None:
        """Adds the same values for each entity."""
        now = time.time_ns() // 1000
        columns = ", ".join(f'"{name}"' for name in ("__entity_key", "__event_time", *VALUES))
        holes = ", ".join(["?"] * (len(VALUES) + 2))
        rows = ((ID % number, now, *VALUES.values()) for number in range(begin, end))
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            # Nothing in it is from outside.
            connection.executemany(f"INSERT INTO wine_features ({columns}) VALUES ({holes})", rows)  # noqa: S608

    def size(self) -> int:
        """Bytes on the disk."""
        return self.file.stat().st_size


class RedisFeatures:
    """Keys of a Redis, with a prefix of their own."""

    PREFIX = "throughline-scale:"

    def __init__(self, url: str) -> None:
        self.server = Redis(url)
        self.arguments = ["--database", url, "--redis-key-prefix", self.PREFIX]
        self.meters: dict[str, Meter] = {"Redis": self.server.usage}
        self.empty = self.server.used_memory()
        self.filled = 0

    def close(self) -> None:
        """Removes all rows."""
        self.server.pipeline(("UNLINK", self.key(number)) for number in range(self.filled))

    def key(self, number: int) -> str:
        """Where the feature store looks for an entity."""
        return f"{self.PREFIX}wine_features:{ID % number}"

    def fill(self, begin: int, end: int) -> None:
        """Adds the same values for each entity."""
        now = str(time.time_ns() // 1000)
        fields = [text for name, value in VALUES.items() for text in (name, str(value))]
        row = ("__event_time", now, *fields)
        self.filled = end
        self.server.pipeline(("HSET", self.key(number), *row) for number in range(begin, end))

    def size(self) -> int:
        """Bytes that Redis has taken since before the first row."""
        return self.server.used_memory() - self.empty


def check(address: str, last: int) -> None:
    """Ends the run if the first or the last of the stored rows is not found."""
    asked = {"features": ["wine_features:alcohol"], "entities": {"wine_id": [ID % 0, ID % last]}}
    if (found := post(f"{address}/get-online-features", asked)["results"][1])["statuses"] != ["PRESENT"] * 2:
        raise SystemExit(f"the feature store does not find what was stored: {found}")


def table(options: Options) -> None:
    """A row for each size of the store and each number of ids."""
    bodies = {count: json.dumps({"features": REFERENCES, "entities": {"wine_id": [ID] * count}}) for count in COUNTS}
    with contextlib.ExitStack() as stack:
        telemetry = stack.enter_context(traced())
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        filled: Store
        if options.feature_store == "sqlite":
            filled = SqliteFeatures(folder / "features.db")
        else:
            filled = stack.enter_context(contextlib.closing(RedisFeatures(options.feature_store)))
        reads = Reads("feature-store", "/get-online-features", bodies, check)
        grow(filled, reads, [], telemetry, options)
