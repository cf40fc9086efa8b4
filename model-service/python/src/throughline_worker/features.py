"""Features of entities, asked of the feature store by Feast's online protocol."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import numpy as np
from numpy.typing import NDArray

from throughline_worker.deadline import Deadline
from throughline_worker.errors import DeadlinePassed, FeatureStoreError
from throughline_worker.repository import Manifest
from throughline_worker.rows import NOT_FOUND, OUTSIDE_MAX_AGE, Rows

NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


class AnswerError(Exception):
    """The feature store answered something that cannot be used."""


class FeatureStore:
    """The feature store as seen from here. One client, so that connections are kept."""

    def __init__(self, client: httpx.AsyncClient, base: str, timeout: float) -> None:
        self._client = client
        self._address = f"{base}/get-online-features"
        self._timeout = timeout

    async def lookup(self, manifest: Manifest, ids: list[str], deadline: Deadline) -> Rows:
        """The features of `ids` in the order of the model; an entity without all of them is a failed row."""
        try:
            with anyio.fail_after(min(self._timeout, deadline.remaining)):
                answer = await self._client.post(self._address, json=_question(manifest, ids))
        except (TimeoutError, httpx.TimeoutException) as error:
            if deadline.has_passed:
                raise DeadlinePassed("the deadline of the request passed during the feature lookup") from error
            raise FeatureStoreError from error
        except httpx.HTTPError as error:
            raise FeatureStoreError from error
        try:
            return _rows(manifest, len(ids), _columns(answer))
        except (AnswerError, ValueError, RecursionError) as error:
            raise FeatureStoreError from error


def client(connections: int) -> httpx.AsyncClient:
    """The client for a feature store; deadlines are set around each call, and no proxy of the environment is asked."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=64)
    return httpx.AsyncClient(limits=limits, timeout=None, trust_env=False)  # noqa: S113


def _question(manifest: Manifest, ids: list[str]) -> dict[str, Any]:
    view = manifest.lookup.feature_view
    return {
        "features": [f"{view}:{feature}" for feature in manifest.features],
        "entities": {manifest.lookup.join_key: ids},
    }


def _columns(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """Values and statuses by feature; the order of the answer is the store's own."""
    if not answer.is_success:
        raise AnswerError(f"the feature store answered {answer.status_code}")
    body = answer.json()
    try:
        return dict(zip(body["metadata"]["feature_names"], body["results"], strict=False))
    except (KeyError, TypeError) as error:
        raise AnswerError("the feature store's answer cannot be read") from error


def _rows(manifest: Manifest, count: int, columns: dict[str, dict[str, Any]]) -> Rows:
    values = np.empty((count, len(manifest.features)), dtype=np.float32)
    statuses = []
    for index, feature in enumerate(manifest.features):
        column = columns.get(feature)
        whole = isinstance(column, dict) and all(
            isinstance(column.get(part), list) and len(column[part]) == count for part in ("values", "statuses")
        )
        if column is None or not whole:
            raise AnswerError(f"the feature store's answer lacks feature {feature}")
        statuses.append(column["statuses"])
        values[:, index] = _numbers(column)
    return Rows.of(values, [_failure(row) for row in zip(*statuses, strict=True)])


def _numbers(column: dict[str, Any]) -> NDArray[np.float64]:
    pairs = zip(column["values"], column["statuses"], strict=True)
    return np.array([_number(value) if status == "PRESENT" else np.nan for value, status in pairs], dtype=np.float64)


def _number(value: Any) -> float:
    """A value that is no number is missing; protobuf's JSON has words for those that are not finite."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, str) and value in NOT_FINITE else np.nan


def _failure(statuses: tuple[str, ...]) -> str:
    """What the statuses say against a whole row; single missing values show later, as values that are not numbers."""
    if all(status == "NOT_FOUND" for status in statuses):
        return NOT_FOUND
    return OUTSIDE_MAX_AGE if "OUTSIDE_MAX_AGE" in statuses else ""
