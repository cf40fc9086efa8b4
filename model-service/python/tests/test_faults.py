"""Injected faults."""

from __future__ import annotations

import time

import httpx
import pytest
from harness import Client

from throughline_worker.http.faults import Fault, parse


@pytest.mark.parametrize("service", ["model-service-python", "model-service"])
def test_an_error(client: Client, service: str) -> None:
    answer = client.get("/v2", headers={"baggage": f"user.id=7,fault={service}:error"})
    assert (answer.status_code, answer.json()["code"]) == (500, "fault_injected")


def test_a_drop(client: Client) -> None:
    with pytest.raises(httpx.TransportError):
        client.get("/v2", headers={"baggage": "fault=model-service-python:drop"})
    assert client.get("/v2").status_code == 200


def test_latency(client: Client) -> None:
    begin = time.monotonic()
    answer = client.get("/v2", headers={"baggage": "fault=model-service-python:latency:150"})
    assert answer.status_code == 200
    assert time.monotonic() - begin >= 0.15


def test_probes_have_no_faults(client: Client) -> None:
    assert (
        client.get("/livez", headers={"baggage": "fault=model-service-python:error"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model-service:error", Fault("error", "model-service")),
        ("model-service-python:drop", Fault("drop", "model-service-python")),
        ("model-service:latency:200", Fault("latency", "model-service", 0.2)),
        ("model-service:latency:99999999", Fault("latency", "model-service", 5.0)),
        ("model-service:latency", None),
        ("model-service:latency:-1", None),
        ("model-service:latency:", None),
        ("model-service:error:1", None),
        ("model-service", None),
        ("gateway:error", None),
        ("", None),
    ],
)
def test_only_well_formed_faults_are_read(text: str, fault: Fault | None) -> None:
    assert parse(text) == fault
