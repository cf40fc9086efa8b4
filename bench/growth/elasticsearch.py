"""What the tables ask of an Elasticsearch."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from growth.table import batches
from load.processes import Usage

# Documents in a bulk; two lines each.
BATCH = 5000


class Elasticsearch:
    """A cluster at one address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The answer to a request in JSON."""
        headers = {"content-type": "application/x-ndjson"} if body else {}
        request = urllib.request.Request(f"{self.url}/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def forget(self, path: str) -> None:
        """Deletes what may be there."""
        try:
            self.ask("DELETE", path)
        except urllib.error.HTTPError as error:
            if error.code != http.client.NOT_FOUND:
                raise

    def bulk(self, index: str, lines: Iterator[str]) -> None:
        """Stores documents; each is a line that says where, and one that says what."""
        for batch in batches(lines, 2 * BATCH):
            answer = self.ask("POST", f"{index}/_bulk?filter_path=errors,items.*.error", "".join(batch).encode())
            if answer["errors"]:
                raise SystemExit(f"Elasticsearch does not take what is to be stored: {answer['items'][0]}")

    def settle(self, index: str) -> None:
        """Writes everything to the disk, and waits for the merges that this leads to."""
        self.ask("POST", f"{index}/_refresh")
        self.ask("POST", f"{index}/_flush")
        while self.ask("GET", f"{index}/_stats/merge")["_all"]["total"]["merges"]["current"]:
            time.sleep(0.5)

    def bytes_of(self, index: str) -> int:
        """Of the segments: the size in `_stats` is up to ten seconds old."""
        indices = self.ask("GET", f"{index}/_segments")["indices"].values()
        copies = [copies[0] for one in indices for copies in one["shards"].values()]
        return sum(int(segment["size_in_bytes"]) for copy in copies for segment in copy["segments"].values())

    def usage(self) -> Usage:
        """CPU time of all nodes; it is not known which part of it is the kernel's, nor the switches."""
        nodes = self.ask("GET", "_nodes/stats/process")["nodes"].values()
        return Usage(sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000, 0.0, 0)
