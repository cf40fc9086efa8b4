"""JSON as the services in Rust read it (`protocol/src/json.rs`).

What one part accepts and reads in one way, no other may refuse or read in another way, because the
gateway chooses the variant by the body that it passes on.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from throughline_worker.errors import DecodeError

# RFC 8259 section 9 allows a limit; this one is serde_json's.
MAX_DEPTH = 127

# `-0`: for serde_json a fraction, except among whole numbers that may have a sign.
MINUS_ZERO = float("-0")

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class Members(dict[str, Any]):
    """The members of an object, and the names that it has more than once.

    A known name that is given twice is an error (RFC 8259 section 4), an unknown one is skipped.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: frozenset[str] = frozenset()
        if len(self) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.repeated = frozenset(name for name, count in counts.items() if count > 1)


def parse(text: bytes) -> Any:
    """The value of a body; its objects are `Members`."""
    if _depth(text) > MAX_DEPTH:
        raise malformed("it is nested too deeply")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise malformed("it is not UTF-8") from error
    try:
        try:
            return json.loads(
                decoded,
                object_pairs_hook=Members,
                parse_constant=_refuse,
                # Python's own reader is faster and takes the minus of a zero away.
                parse_int=_integer if "-0" in decoded else None,
            )
        except json.JSONDecodeError:
            raise
        except ValueError:
            # A number with thousands of digits, which Python refuses to read.
            return json.loads(
                decoded,
                object_pairs_hook=Members,
                parse_constant=_refuse,
                parse_int=_integer,
            )
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg} at line {error.lineno} column {error.colno}") from error


def malformed(detail: str) -> DecodeError:
    """The error of a body that is no message."""
    return DecodeError(f"the body is not an Open Inference Protocol message: {detail}")


def is_text(value: str) -> bool:
    """Whether UTF-8 can encode it; half of a surrogate pair is valid in JSON only."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def is_parameter(value: Any) -> bool:
    """Whether it is a string, a boolean or a number that a double can hold."""
    if isinstance(value, str):
        return is_text(value)
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:
        return False


def has_text_names(members: Mapping[str, Any]) -> bool:
    """Whether UTF-8 can encode all names."""
    return all(map(is_text, members))


def _integer(digits: str) -> int | float:
    """An integer; an infinity for one that no type of the protocol can hold."""
    if digits == "-0":
        return MINUS_ZERO
    return int(digits) if len(digits) < 1000 else math.inf


def _refuse(constant: str) -> NoReturn:
    raise malformed(f"{constant} is no JSON")


def _depth(text: bytes) -> int:
    """The most brackets that are open at once outside of strings."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return 0
    opened = deepest = 0
    for token in _STRUCTURE.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            opened += 1
            deepest = max(deepest, opened)
        elif first in b"]}":
            opened = max(0, opened - 1)
    return deepest
