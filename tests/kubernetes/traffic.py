"""Requests that go on while pods stop: what failed, and which acknowledged writes were lost."""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

WINES = 1_599
# Slower than any answer of a healthy system, faster than the patience of whoever runs this.
TIMEOUT = 15.0
# A client waits before it tries again: else an outage counts at the speed of refused connections.
PAUSE_AFTER_FAILURE = 0.1
# How long a system may take after a disruption until it tells what it has stored.
PATIENCE = 120.0
# Of a gateway that asks for one.
API_KEY = (
    {"authorization": f"Bearer {os.environ['THROUGHLINE_API_KEY']}"}
    if "THROUGHLINE_API_KEY" in os.environ
    else {}
)
FEATURES = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
    "alcohol",
)


class Client:
    """One connection, kept open as clients do, and opened again after a failure."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, str]:
        """Returns the JSON of a 200 and its `Cache-Status`; everything else raises."""
        if self._connection is not None and _is_closed_by_server(self._connection):
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)
        try:
            text = None if body is None else json.dumps(body)
            sent = {"content-type": "application/json"} | API_KEY
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            self._connection.request(method, path, text, sent)
            answer = self._connection.getresponse()
            content = answer.read()
        except Exception:
            self.close()
            raise
        if answer.status != http.client.OK:
            raise RefusedError(f"{answer.status} {content[:200].decode(errors='replace')}")
        return json.loads(content or b"null"), answer.getheader("cache-status") or ""

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _is_closed_by_server(connection: http.client.HTTPConnection) -> bool:
    """Whether the end is there to be read. Clients with a pool look before they send."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


class RefusedError(Exception):
    """An answer that is not 200."""


@dataclass
class Record:
    """What the requests of all threads had as results."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """By kind of request and error."""
    predictions: dict[str, datetime] = field(default_factory=dict)
    """The newest acknowledged computation of each wine: its time."""
    features: dict[str, float] = field(default_factory=dict)
    """The acknowledged value of each pushed entity."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self) -> int:
        """How many requests failed."""
        return self.failures.total()


class Traffic:
    """Threads that read and compute predictions and push features until the block ends."""

    def __init__(self, gateway: str, feature_store: str, threads: int = 6) -> None:
        self.record = Record()
        self._gateway, self._feature_store = gateway, feature_store
        self._ends = threading.Event()
        self._run = random.getrandbits(32)
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        gateway, features = Client(self._gateway), Client(self._feature_store)
        count = 0
        while not self._ends.is_set():
            count += 1
            if count % 4 == 0:
                entity = f"pushed-{self._run}-{number}-{count}"
                self._try("push", partial(self._push, features, entity))
            else:
                # Every third one is computed anew and stored.
                self._try("predict", partial(self._predict, gateway, anew=count % 4 == 1))
            # About 200 requests a second in all.
            time.sleep(0.02)
        gateway.close()
        features.close()

    def _try(self, kind: str, request: Callable[[], None]) -> None:
        error = None
        try:
            request()
        except (OSError, http.client.HTTPException, RefusedError) as caught:
            error = f"{kind}: {type(caught).__name__} {caught}"[:160]
        with self.record.lock:
            self.record.requests += 1
            if error is not None:
                self.record.failures[error] += 1
        if error is not None:
            time.sleep(PAUSE_AFTER_FAILURE)

    def _predict(self, client: Client, *, anew: bool) -> None:
        wine = f"wine-{random.randint(1, WINES):04}"
        headers = {"cache_control": "no-cache"} if anew else {}
        body = {"model": "wine_quality", "data_ids": [wine]}
        answer, status = client.call("POST", "/v1/predictions", body, **headers)
        (entry,) = answer["predictions"]
        if "error" in entry:
            raise RefusedError(str(entry["error"]))
        # Without the word, the answer says that the store was not there, and promises nothing.
        if "stored" in status:
            with self.record.lock:
                computed = datetime.fromisoformat(entry["computed_at"])
                newest = self.record.predictions.get(wine, computed)
                self.record.predictions[wine] = max(newest, computed)

    def _push(self, client: Client, entity: str) -> None:
        value = round(random.uniform(8, 14), 3)
        columns: dict[str, list[Any]] = {name: [1.0] for name in FEATURES}
        columns |= {
            "wine_id": [entity],
            "alcohol": [value],
            "event_timestamp": [datetime.now(UTC).isoformat()],
        }
        client.call(
            "POST", "/push", {"push_source_name": "wine_push", "df": columns, "to": "online"}
        )
        with self.record.lock:
            self.record.features[entity] = value


def lost_predictions(gateway: str, record: Record) -> list[str]:
    """The wines whose stored prediction is older than one that was acknowledged as stored."""
    client, lost = Client(gateway), []
    for wine, acknowledged in sorted(record.predictions.items()):
        body = {"model": "wine_quality", "data_ids": [wine]}
        entry = _once_it_answers(partial(_stored, client, body))
        if "error" in entry or datetime.fromisoformat(entry["computed_at"]) < acknowledged:
            lost.append(f"{wine}: acknowledged {acknowledged}, stored {entry}")
    client.close()
    return lost


def _stored(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    answer, _ = client.call("POST", "/v1/predictions", body, cache_control="only-if-cached")
    (entry,) = answer["predictions"]
    return entry


def _once_it_answers(question: Callable[[], Any]) -> Any:
    """What a store that has just been disrupted holds: a refusal is not a loss, so ask again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return question()
        except (OSError, http.client.HTTPException, RefusedError) as refused:
            if time.monotonic() > deadline:
                raise
            print(f"    asked again what is stored: {refused}"[:160], flush=True)
            time.sleep(1)


def lost_features(feature_store: str, record: Record) -> list[str]:
    """The entities whose stored value is not the one that was acknowledged."""
    client, lost = Client(feature_store), []
    entities = sorted(record.features)
    for start in range(0, len(entities), 500):
        batch = entities[start : start + 500]
        body = {"features": ["wine_features:alcohol"], "entities": {"wine_id": batch}}
        answer, _ = _once_it_answers(partial(client.call, "POST", "/get-online-features", body))
        # One column for each name, the join key first.
        values = answer["results"][answer["metadata"]["feature_names"].index("alcohol")]["values"]
        lost += [
            f"{entity}: acknowledged {record.features[entity]}, stored {value}"
            for entity, value in zip(batch, values, strict=True)
            if value is None or abs(value - record.features[entity]) > 1e-6
        ]
    client.close()
    return lost
