"""Inferences over a real socket, in every form that clients send."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from harness import FIRST_WINE, Client, by_features, by_ids, outputs

from throughline_worker.oip import HEADER_LENGTH

OTHER_WINE = [11.2, 0.28, 0.56, 1.9, 0.075, 17.0, 60.0, 0.998, 3.16, 0.58, 9.8]
INFER = "/v2/models/wine_quality/infer"


def binary_request(rows: np.ndarray[Any, Any], **members: Any) -> tuple[bytes, dict[str, str]]:
    raw = rows.astype("<f4").tobytes()
    tensor = {"name": "features", "shape": list(rows.shape), "datatype": "FP32"}
    head = json.dumps(
        {"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}], **members}
    ).encode()
    return head + raw, {HEADER_LENGTH: str(len(head))}


def binary_outputs(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[HEADER_LENGTH])
    tail, found = answer.content[length:], {}
    for output in json.loads(answer.content[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]], tail = tail[:size], tail[size:]
    assert tail == b""
    return found


def test_a_row_of_features_is_classified(client: Client) -> None:
    answer = client.infer(by_features(FIRST_WINE, id="r-1"))
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("wine_quality", "1", "r-1")
    assert len(body["parameters"]["run_id"]) == 32
    assert "traceparent" not in body["parameters"], "nothing is recorded without the wrapper"
    assert "traceresponse" not in answer.headers
    found = outputs(answer)
    assert found["label"] == ["low"]
    assert found["confidence"][0] == max(found["probabilities"]) > 0.5
    assert sum(found["probabilities"]) == pytest.approx(1.0)
    assert answer.headers["server-timing"].startswith("queue;dur=")


def test_flat_and_nested_data_are_equivalent(client: Client) -> None:
    nested = by_features(FIRST_WINE, OTHER_WINE)
    flat = by_features(FIRST_WINE, OTHER_WINE)
    flat["inputs"][0]["data"] = FIRST_WINE + OTHER_WINE
    assert outputs(client.infer(nested)) == outputs(client.infer(flat))


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_numbers_of_other_widths_are_accepted(client: Client, datatype: str) -> None:
    body = by_features(FIRST_WINE)
    body["inputs"][0]["datatype"] = datatype
    assert outputs(client.infer(body))["label"] == ["low"]


def test_whole_numbers_are_accepted(client: Client) -> None:
    for datatype in ("INT32", "INT64"):
        body = by_features([float(round(value)) for value in FIRST_WINE])
        body["inputs"][0] |= {"datatype": datatype, "data": [round(value) for value in FIRST_WINE]}
        assert outputs(client.infer(body))["label"] in (["low"], ["high"])


def test_binary_and_json_give_the_same_prediction(client: Client) -> None:
    rows = np.array([FIRST_WINE, OTHER_WINE])
    content, headers = binary_request(rows, id="b", parameters={"binary_data_output": True})
    found = binary_outputs(client.post(INFER, content, headers=headers))
    json_outputs = outputs(client.infer(by_features(FIRST_WINE, OTHER_WINE)))
    assert np.frombuffer(found["probabilities"], "<f4").tolist() == pytest.approx(
        json_outputs["probabilities"], abs=1e-6
    )
    labels = b"".join(
        struct.pack("<I", len(label)) + label.encode() for label in json_outputs["label"]
    )
    assert found["label"] == labels


def test_each_output_has_the_requested_form(client: Client) -> None:
    asked = [{"name": "confidence", "parameters": {"binary_data": True}}, {"name": "label"}]
    answer = client.infer(by_features(FIRST_WINE, outputs=asked))
    length = int(answer.headers[HEADER_LENGTH])
    described = {
        output["name"]: output for output in json.loads(answer.content[:length])["outputs"]
    }
    assert set(described) == {"label", "confidence"}
    assert described["label"]["data"] == ["low"]
    assert described["confidence"]["parameters"] == {"binary_data_size": 4}
    assert len(answer.content) == length + 4


def test_only_the_requested_outputs(client: Client) -> None:
    found = outputs(client.infer(by_features(FIRST_WINE, outputs=[{"name": "label"}])))
    assert list(found) == ["label"]


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_requests(client: Client, encoding: str, compress: Any) -> None:
    headers = {"content-encoding": encoding}
    answer = client.post(
        INFER, compress(json.dumps(by_features(FIRST_WINE)).encode()), headers=headers
    )
    assert outputs(answer)["label"] == ["low"]
    # The length is that of the JSON before the compression.
    content, length = binary_request(np.array([FIRST_WINE]))
    answer = client.post(INFER, compress(content), headers={**headers, **length})
    assert outputs(answer)["label"] == ["low"]


def test_large_answers_are_compressed_on_request(client: Client) -> None:
    body = by_features(*[FIRST_WINE] * 200)
    answer = client.infer(body, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert outputs(answer)["label"] == ["low"] * 200


def test_any_content_type_or_none(client: Client) -> None:
    for content_type in (
        "application/octet-stream",
        "text/plain",
        "application/json; charset=utf-8",
    ):
        answer = client.infer(by_features(FIRST_WINE), headers={"content-type": content_type})
        assert answer.status_code == 200


def test_a_row_with_a_missing_value_fails_alone(client: Client) -> None:
    rows = np.array([FIRST_WINE, OTHER_WINE])
    rows[1, 3] = np.nan
    content, headers = binary_request(rows)
    found = outputs(client.post(INFER, content, headers=headers))
    assert found["error"] == ["", "missing_features"]
    assert found["label"] == ["low", ""]
    assert found["confidence"][1] == 0.0
    assert found["probabilities"][2:] == [0.0, 0.0]


def test_no_row_can_be_computed(client: Client) -> None:
    content, headers = binary_request(np.full((2, 11), np.inf))
    answer = client.post(INFER, content, headers=headers)
    assert outputs(answer)["error"] == ["missing_features"] * 2
    assert "server-timing" not in answer.headers


def test_failed_rows_add_the_error_output_even_if_not_requested(client: Client) -> None:
    rows = np.array([[np.nan] * 11, FIRST_WINE])
    content, headers = binary_request(rows, outputs=[{"name": "label"}])
    assert list(outputs(client.post(INFER, content, headers=headers))) == ["label", "error"]


def test_entities_are_looked_up(whole: Client) -> None:
    answer = whole.infer(by_ids("wine-0001", "nobody", "wine-0004"))
    found = outputs(answer)
    assert found["error"] == ["", "unknown_entity", ""]
    assert found["label"][1] == ""
    given = outputs(whole.infer(by_features(FIRST_WINE)))
    assert found["probabilities"][:2] == given["probabilities"]
    assert answer.headers["server-timing"].startswith("features;dur=")


def test_entities_of_a_column(whole: Client) -> None:
    body = by_ids("wine-0001", "wine-0002")
    body["inputs"][0]["shape"] = [2, 1]
    assert outputs(whole.infer(body))["label"] == ["low", "low"]


def test_no_entity_is_known(whole: Client) -> None:
    answer = whole.infer(by_ids("nobody", "no-one"))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_entity")


def test_a_thousand_entities(whole: Client) -> None:
    answer = whole.infer(by_ids(*[f"wine-{number:04}" for number in range(1, 1001)]))
    assert len(outputs(answer)["label"]) == 1000


def test_the_version_in_the_path_answers(client: Client) -> None:
    answer = client.infer(by_features(FIRST_WINE), "/v2/models/wine_quality/versions/1/infer")
    assert answer.json()["model_version"] == "1"
