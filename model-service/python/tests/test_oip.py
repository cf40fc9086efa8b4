"""Decoding and encoding of tensors, on chosen and on random bytes."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from throughline_worker.errors import DecodeError
from throughline_worker.oip import (
    Datatype,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    decode,
    encode_for,
    parse_header_length,
)

FIXED = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def decoded(**tensor: Any) -> Tensor:
    body = json.dumps({"inputs": [{"name": "x", **tensor}]}).encode()
    return decode(body, None).inputs[0]


def decoded_binary(datatype: Datatype, shape: list[int], raw: bytes) -> Tensor:
    parameters = {"binary_data_size": len(raw)}
    tensor = {"name": "x", "shape": shape, "datatype": datatype.value, "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return decode(head + raw, len(head)).inputs[0]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("INT8", [-128, 127]),
        ("UINT16", [0, 65_535]),
        ("INT16", [-32_768, 5]),
        ("UINT32", [1, 2**32 - 1]),
        ("INT32", [-(2**31), 1]),
        ("UINT64", [1, 2**64 - 1]),
        ("INT64", [-(2**63), 1]),
        ("FP32", [0.25, -3]),
        ("FP64", [0.1, -1e-7]),
    ],
)
def test_every_datatype_of_json(datatype: str, data: list[Any]) -> None:
    tensor = decoded(shape=[2], datatype=datatype, data=data)
    assert isinstance(tensor.data, np.ndarray)
    assert tensor.data.tolist() == data
    assert tensor.data.dtype == Datatype(datatype).dtype


def test_texts() -> None:
    assert decoded(shape=[2], datatype="BYTES", data=['a]"é\n', "[1,2]"]).texts() == [
        'a]"é\n',
        "[1,2]",
    ]


def test_nesting_that_fits_the_shape() -> None:
    tensor = decoded(shape=[2, 1, 3], datatype="INT32", data=[[[1, 2, 3]], [[4, 5, 6]]])
    assert isinstance(tensor.data, np.ndarray)
    assert tensor.data.tolist() == [1, 2, 3, 4, 5, 6]
    assert len(decoded(shape=[2, 0], datatype="INT32", data=[[], []]).data) == 0


@pytest.mark.parametrize(
    "data", [[[1, 2, 3], [4]], [[1, 2], 3, 4], [1, [2, 3], 4], [[[1, 2], [3, 4]]], [[1, 2, 3, 4]]]
)
def test_nesting_that_does_not_fit_the_shape(data: list[Any]) -> None:
    with pytest.raises(DecodeError, match="does not have its shape"):
        decoded(shape=[2, 2], datatype="INT32", data=data)


def test_the_largest_number_of_fp32() -> None:
    largest = float(np.finfo(np.float32).max)
    tensor = decoded(shape=[2], datatype="FP32", data=[largest, -largest])
    assert isinstance(tensor.data, np.ndarray)
    assert np.isfinite(tensor.data).all()
    with pytest.raises(DecodeError, match="element 0"):
        decoded(shape=[1], datatype="FP32", data=[2.0**128])


@pytest.mark.parametrize("datatype", FIXED)
def test_every_datatype_of_bytes(datatype: Datatype) -> None:
    raw = bytes([1, 0] * datatype.dtype.itemsize)
    tensor = decoded_binary(datatype, [2], raw)
    assert isinstance(tensor.data, np.ndarray)
    assert tensor.data.tobytes() == raw


@pytest.mark.parametrize(
    ("raw", "shape", "wrong"),
    [
        (b"\1\0\0\0", [1], "past the end"),
        (b"\xff\xff\xff\xff", [1], "past the end"),
        (b"\0\0\0", [1], "past the end"),
        (b"\0\0\0\0", [9], "should have 9 elements and has 1"),
        (b"\0\0\0\0", [0], "should have 0 elements and has 1"),
    ],
)
def test_texts_with_wrong_lengths(raw: bytes, shape: list[int], wrong: str) -> None:
    with pytest.raises(DecodeError, match=wrong):
        decoded_binary(Datatype.BYTES, shape, raw)


def test_a_bool_is_zero_or_one() -> None:
    with pytest.raises(DecodeError, match="element 1 of tensor `x` is not a BOOL"):
        decoded_binary(Datatype.BOOL, [2], b"\1\2")


@given(
    datatype=st.sampled_from(list(Datatype)),
    shape=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 4), max_size=18),
    raw=st.binary(max_size=64),
)
def test_arbitrary_bytes(datatype: Datatype, shape: list[int], raw: bytes) -> None:
    with contextlib.suppress(DecodeError):
        tensor = decoded_binary(datatype, shape, raw)
        assert len(tensor.data) == math.prod(tensor.shape)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([d.value for d in Datatype]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(message=JSON, tail=st.binary(max_size=16), cut=st.integers(-3, 3))
@settings(max_examples=400)
def test_arbitrary_messages(message: Any, tail: bytes, cut: int) -> None:
    head = json.dumps(message).encode()
    try:
        request = decode(head + tail, max(0, len(head) + cut))
    except DecodeError:
        return
    assert isinstance(request, InferRequest)


@given(body=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_arbitrary_bodies(body: bytes, length: int | None) -> None:
    with pytest.raises(DecodeError):
        decode(body, length)


@given(
    texts=st.lists(st.text(), max_size=5),
    floats=st.lists(st.floats(width=32, allow_nan=False), max_size=5),
)
def test_round_trips(texts: list[str], floats: list[float]) -> None:
    """In binary form, since JSON has no infinity."""
    tensors = [Tensor.of_texts("t", texts), Tensor.of_floats("f", np.array(floats, np.float32))]
    request = InferRequest([], parameters={"binary_data_output": True})
    encoded = encode_for(request, InferResponse("m", "1", "i", {}, tensors))
    assert encoded.header_length is not None
    body = encoded.body.replace(b'"outputs"', b'"inputs"', 1)
    found = decode(body, encoded.header_length - 1)
    assert found.id == "i"
    assert found.inputs[0].texts() == texts
    assert isinstance(found.inputs[1].data, np.ndarray)
    assert found.inputs[1].data.tolist() == floats


@given(value=st.text(max_size=25))
def test_arbitrary_header_lengths(value: str) -> None:
    try:
        assert parse_header_length(value) == int(value)
    except DecodeError:
        assert not (value.isascii() and value.isdecimal() and int(value) < 2**64)


def test_floats_have_no_more_digits_than_they_need() -> None:
    tensor = Tensor.of_floats("x", np.array([0.1, 1 / 3, 1e-10], np.float32))
    encoded = encode_for(InferRequest([]), InferResponse("m", "1", None, {}, [tensor]))
    assert b'"data":[0.1,0.33333334,1e-10]' in encoded.body
    assert b'"id"' not in encoded.body
    assert b'"parameters"' not in encoded.body


def test_the_form_of_an_output() -> None:
    outputs = [
        RequestedOutput("a"),
        RequestedOutput("b", {"binary_data": False}),
        RequestedOutput("c"),
    ]
    request = InferRequest([], parameters={"binary_data_output": True}, outputs=outputs)
    assert [request.wants_binary(name) for name in "abc"] == [True, False, True]
    assert not request.wants_output("d")
    assert InferRequest([]).wants_output("d")


def test_timeouts_are_microseconds() -> None:
    assert InferRequest([], parameters={"timeout": 1_500_000}).timeout() == 1.5
    assert InferRequest([]).timeout() is None
