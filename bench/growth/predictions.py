"""Hits on 10^3 and more stored predictions, in SQLite or Elasticsearch."""

import contextlib
import json
import pathlib
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from growth.elasticsearch import Elasticsearch
from growth.stored import Reads, Store, grow
from growth.table import Options, traced
from load.measure import Meter
from load.system import post, stored_prediction, system

ID = "scale-%08d"
COUNTS = (1, 100)


class SqlitePredictions:
    """A file of the gateway."""

    def __init__(self, file: pathlib.Path, example: dict[str, Any]) -> None:
        self.file = file
        self.example = example
        self.arguments = ["--prediction-store", f"sqlite:{file}"]
        self.meters: dict[str, Meter] = {}

    def fill(self, begin: int, end: int) -> None:
        """Adds rows like the example, computed until now."""
        made = self.example
        before = (made["model"], made["variant"], made["model_version"])
        probabilities = struct.pack(f"<{len(made['probabilities'])}f", *made["probabilities"])
        answer = (made["label"], made["confidence"], probabilities)
        by, now = made["computed_by"], time.time_ns() // 1000
        rows = (
            (*before, ID % number, *answer, now + number - end, by["trace_id"], by["span_id"], made["run_id"])
            for number in range(begin, end)
        )
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def size(self) -> int:
        """Bytes on the disk."""
        return self.file.stat().st_size


class ElasticsearchPredictions:
    """An index that a gateway has made, under an alias of its own."""

    ALIAS = "throughline-scale"

    def __init__(self, url: str, example: dict[str, Any]) -> None:
        self.server = Elasticsearch(url)
        self.example = example
        self.arguments = ["--prediction-store", url, "--elasticsearch-index", self.ALIAS]
        self.meters: dict[str, Meter] = {"Elasticsearch": self.server.usage}
        self.close()

    def close(self) -> None:
        """Deletes the index and the template that the gateway has made."""
        self.server.forget(f"{self.ALIAS}-v1")
        self.server.forget(f"_index_template/{self.ALIAS}")

    def fill(self, begin: int, end: int) -> None:
        """Adds documents like the example, and waits until Elasticsearch is quiet again."""
        made = self.example
        fields = ("model", "model_version", "variant", "label", "confidence", "run_id")
        document = {field: made[field] for field in fields} | made["computed_by"]
        document |= {"probabilities": made["probabilities"], "computed_at": made["computed_at"]}
        rest, now = json.dumps(document)[1:], time.time_ns() // 1000
        # The ids and external versions are those that the gateway writes.
        prefix = f"{made['model']}/{made['model_version']}/"

        def lines() -> Iterator[str]:
            for number in range(begin, end):
                data_id = ID % number
                yield f'{{"index":{{"_id":"{prefix}{data_id}","version":{now},"version_type":"external"}}}}\n'
                yield f'{{"data_id":"{data_id}",{rest}\n'

        self.server.bulk(self.ALIAS, lines())
        self.server.settle(self.ALIAS)

    def size(self) -> int:
        """Bytes of the segments."""
        return self.server.bytes_of(self.ALIAS)


def check(address: str, last: int) -> None:
    """Ends the run if the first or the last of the stored predictions is not found."""
    asked = {"model": "wine_quality", "data_ids": [ID % 0, ID % last]}
    found = post(f"{address}/v1/predictions", asked)["predictions"]
    if not all(prediction.get("cached") for prediction in found):
        raise SystemExit(f"the gateway does not find what was stored: {found}")


def table(options: Options) -> None:
    """A row for each size of the store and each number of ids."""
    bodies = {count: json.dumps({"model": "wine_quality", "data_ids": [ID] * count}) for count in COUNTS}
    reads = Reads("gateway", "/v1/predictions", bodies, check)
    with contextlib.ExitStack() as stack:
        telemetry = stack.enter_context(traced())
        addresses = stack.enter_context(system(options.program, telemetry, None)).addresses
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The stored ones are like it.
        example, store = stored_prediction(addresses["gateway"]), options.prediction_store
        filled: Store
        if store == "sqlite":
            filled = SqlitePredictions(folder / "predictions.db", example)
        else:
            filled = stack.enter_context(contextlib.closing(ElasticsearchPredictions(store, example)))
        grow(filled, reads, ["--model-service", addresses["model-service"]], telemetry, options)
