"""The stable codes of failed requests and rows: the worker's part of `protocol::ErrorCode`.

A test of that crate reads this file and compares the words.
"""

from __future__ import annotations

from enum import Enum


class ErrorCode(str, Enum):
    """Why a request failed as a whole."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    TOO_MANY_ROWS = "too_many_rows"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    INVALID_HOST = "invalid_host"
    UNKNOWN_HOST = "unknown_host"
    CROSS_ORIGIN = "cross_origin"
    BODY_TIMEOUT = "body_timeout"
    UNKNOWN_PATH = "unknown_path"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_ENTITY = "unknown_entity"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_CONTROL_OFF = "model_control_off"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    DEADLINE_PASSED = "deadline_passed"
    FEATURE_STORE_UNAVAILABLE = "feature_store_unavailable"
    COMPUTE_ERROR = "compute_error"
    FAULT_INJECTED = "fault_injected"
    INTERNAL = "internal"


class RowErrorCode(str, Enum):
    """Why one row of a batch has no prediction: the words of the output `error`."""

    UNKNOWN_ENTITY = "unknown_entity"
    OUTSIDE_MAX_AGE = "outside_max_age"
    MISSING_FEATURES = "missing_features"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CATEGORY = "unknown_category"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    INVALID_TEXT = "invalid_text"
    UNKNOWN_WORDS = "unknown_words"
