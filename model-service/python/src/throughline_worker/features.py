"""The client of the feature store, by Feast's online protocol."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import numpy as np
from numpy.typing import NDArray

from throughline_worker.deadline import Deadline
from throughline_worker.error_codes import RowErrorCode
from throughline_worker.errors import DeadlinePassed, FeatureStoreError
from throughline_worker.feature_rows import FeatureRows
from throughline_worker.repository import Manifest

NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


class AnswerError(Exception):
    """The answer of the feature store is no success or not in the form of the protocol."""


class FeatureStore:
    """A client of the feature store; it reuses its connections."""

    def __init__(self, client: httpx.AsyncClient, base: str, timeout: float) -> None:
        self._client = client
        self._address = f"{base}/get-online-features"
        self._timeout = timeout

    async def lookup(self, manifest: Manifest, ids: list[str], deadline: Deadline) -> FeatureRows:
        """The features of `ids` in the order of the model.

        An entity without all of them is a row with an error.
        """
        try:
            with anyio.fail_after(min(self._timeout, deadline.remaining)):
                answer = await self._client.post(self._address, json=_request(manifest, ids))
        except (TimeoutError, httpx.TimeoutException) as error:
            if deadline.has_passed:
                raise DeadlinePassed(
                    "the deadline of the request passed during the feature lookup"
                ) from error
            raise FeatureStoreError from error
        except httpx.HTTPError as error:
            raise FeatureStoreError from error
        try:
            return _rows(manifest, len(ids), _columns(answer))
        except (AnswerError, ValueError, RecursionError) as error:
            raise FeatureStoreError from error


def client(connections: int, credentials: tuple[str, str] | None = None) -> httpx.AsyncClient:
    """An HTTP client without timeouts, because each call has a deadline, and without proxies.

    User and password are apart from the addresses, which are in errors and spans.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=64)
    return httpx.AsyncClient(auth=credentials, limits=limits, timeout=None, trust_env=False)  # noqa: S113


def _request(manifest: Manifest, ids: list[str]) -> dict[str, Any]:
    view = manifest.lookup.feature_view
    return {
        "features": [f"{view}:{feature}" for feature in manifest.features],
        "entities": {manifest.lookup.join_key: ids},
    }


def _columns(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """Values and statuses by feature; the answer may have any order."""
    if not answer.is_success:
        raise AnswerError(f"the feature store answered {answer.status_code}")
    body = answer.json()
    try:
        return dict(zip(body["metadata"]["feature_names"], body["results"], strict=False))
    except (KeyError, TypeError) as error:
        raise AnswerError("the feature store's answer cannot be read") from error


def _rows(manifest: Manifest, count: int, columns: dict[str, dict[str, Any]]) -> FeatureRows:
    values = np.empty((count, len(manifest.features)), dtype=np.float32)
    statuses = []
    for index, feature in enumerate(manifest.features):
        column = columns.get(feature)
        complete = isinstance(column, dict) and all(
            isinstance(column.get(part), list) and len(column[part]) == count
            for part in ("values", "statuses")
        )
        if column is None or not complete:
            raise AnswerError(f"the feature store's answer lacks feature {feature}")
        statuses.append(column["statuses"])
        values[:, index] = _numbers(column)
    return FeatureRows.of(values, [_row_error(row) for row in zip(*statuses, strict=True)])


def _numbers(column: dict[str, Any]) -> NDArray[np.float64]:
    pairs = zip(column["values"], column["statuses"], strict=True)
    return np.array(
        [_number(value) if status == "PRESENT" else np.nan for value, status in pairs],
        dtype=np.float64,
    )


def _number(value: Any) -> float:
    """A value that is no number is missing.

    Protobuf's JSON writes numbers that are not finite as strings.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            # An integer beyond FP64, which Python's JSON reads exactly.
            return np.inf
    return float(value) if isinstance(value, str) and value in NOT_FINITE else np.nan


def _row_error(statuses: tuple[str, ...]) -> RowErrorCode | None:
    """The error of a row as a whole.

    Single missing values become NaN, which `FeatureRows` checks.
    """
    if all(status == "NOT_FOUND" for status in statuses):
        return RowErrorCode.UNKNOWN_ENTITY
    return RowErrorCode.OUTSIDE_MAX_AGE if "OUTSIDE_MAX_AGE" in statuses else None
