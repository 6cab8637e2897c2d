"""W3C trace context in the user properties of messages: `traceparent` and `tracestate`, as devices with MQTT 5 send them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from edgerouter.message import Message

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_TRACESTATE: Final = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)
_MOST_PROPERTIES: Final = 50
"""User properties of a message that are looked at."""


class TraceContext(NamedTuple):
    """Context of the trace that a message belongs to."""

    traceparent: str
    tracestate: str
    """Empty where there is none, or one that breaks the format."""
    trace_id: int
    span_id: int
    flags: int


def trace_context(message: Message) -> TraceContext | None:
    """Return the context that a message carries; `None` without a valid one."""
    if message.properties is None or not message.properties.user:
        return None
    parent = state = ""
    for name, value in message.properties.user[:_MOST_PROPERTIES]:
        if name == "traceparent":
            parent = parent or value
        elif name == "tracestate":
            state = state or value
    # the length is known, and a text of a megabyte is not searched
    found = _TRACEPARENT.fullmatch(parent) if len(parent) == 55 else None
    if found is None:
        return None
    valid_state = state if len(state) <= 512 and _TRACESTATE.fullmatch(state) else ""
    return TraceContext(parent, valid_state, int(found[1], 16), int(found[2], 16), int(found[3], 16))
