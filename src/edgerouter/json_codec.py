"""JSON payloads and their documents: decoding within a bound, and encoding."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from edgerouter.errors import BadInput

MOST_BYTES: Final = 1024 * 1024
"""Largest payload that is decoded: the event loop waits meanwhile, for a third of a second where it is all brackets."""

decode: Final = msgspec.json.Decoder().decode
"""Return the document of a payload of any size, for loops that check it themselves.

Raises:
    msgspec.DecodeError, ValueError, RecursionError: it is not JSON.
"""
encode: Final = msgspec.json.Encoder().encode
"""Return a document as compact JSON.

Raises:
    ValueError, TypeError, RecursionError: it is not a JSON document.
    OverflowError: it holds an integer of more than 64 bits; see `encoded`.
"""


def decoded(payload: bytes) -> Any:
    """Return the document that a payload holds, or a `BadInput` that says why it holds none."""
    if len(payload) > MOST_BYTES:
        return BadInput("too large", f"{len(payload)} bytes; steps read documents of at most {MOST_BYTES}")
    try:
        return decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return BadInput("not JSON", str(error))


def encoded(document: Any) -> bytes:
    """Return a document as compact JSON, with integers of any size.

    Raises:
        ValueError, TypeError, RecursionError: it is not a JSON document.
    """
    try:
        return encode(document)
    except OverflowError:
        return json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
