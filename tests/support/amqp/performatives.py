"""Frames of AMQP 1.0 (part 2.7 and 5.3), checked field by field when read, written with every field when sent.

Every field is written, including trailing nulls, because the service does so and its client relies on it.
"""

# ruff: noqa: RUF009 (`amqp` makes a dataclass field)
from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from support.amqp.codec import Array, Described, MalformedAmqp, Symbol, UByte, UInt, ULong, UShort, decode, encode

_READ: dict[str, tuple[type[Any], ...]] = {
    "string": (str,), "symbol": (Symbol,), "binary": (bytes,), "boolean": (bool,), "map": (dict,), "any": (object,),
    "ubyte": (int,), "ushort": (int,), "uint": (int,), "ulong": (int,), "symbols": (Symbol, Array, list),
}  # fmt: skip
_WRITE: dict[str, type[Any]] = {"ubyte": UByte, "ushort": UShort, "uint": UInt, "ulong": ULong}


def amqp(kind: str, *, mandatory: bool = False) -> Any:
    """Declare a field of a performative."""
    return field(default=None, metadata={"kind": kind, "mandatory": mandatory})


@dataclass(slots=True)
class Performative:
    """Base of all frames; `code` is the descriptor."""

    code: ClassVar[int]

    def encode(self) -> bytes:
        values = []
        for each in fields(self):
            value, kind = getattr(self, each.name), each.metadata["kind"]
            values.append(_WRITE[kind](value) if value is not None and kind in _WRITE else value)
        return encode(Described(ULong(self.code), values))


@dataclass(slots=True)
class Open(Performative):
    code = 0x10
    container_id: str = amqp("string", mandatory=True)
    hostname: str | None = amqp("string")
    max_frame_size: int | None = amqp("uint")
    channel_max: int | None = amqp("ushort")
    idle_time_out: int | None = amqp("uint")
    outgoing_locales: Any = amqp("symbols")
    incoming_locales: Any = amqp("symbols")
    offered_capabilities: Any = amqp("symbols")
    desired_capabilities: Any = amqp("symbols")
    properties: dict[Any, Any] | None = amqp("map")


@dataclass(slots=True)
class Begin(Performative):
    code = 0x11
    remote_channel: int | None = amqp("ushort")
    next_outgoing_id: int = amqp("uint", mandatory=True)
    incoming_window: int = amqp("uint", mandatory=True)
    outgoing_window: int = amqp("uint", mandatory=True)
    handle_max: int | None = amqp("uint")
    offered_capabilities: Any = amqp("symbols")
    desired_capabilities: Any = amqp("symbols")
    properties: dict[Any, Any] | None = amqp("map")


@dataclass(slots=True)
class Attach(Performative):
    code = 0x12
    name: str = amqp("string", mandatory=True)
    handle: int = amqp("uint", mandatory=True)
    role: bool = amqp("boolean", mandatory=True)
    snd_settle_mode: int | None = amqp("ubyte")
    rcv_settle_mode: int | None = amqp("ubyte")
    source: Any = amqp("any")
    target: Any = amqp("any")
    unsettled: Any = amqp("map")
    incomplete_unsettled: bool | None = amqp("boolean")
    initial_delivery_count: int | None = amqp("uint")
    max_message_size: int | None = amqp("ulong")
    offered_capabilities: Any = amqp("symbols")
    desired_capabilities: Any = amqp("symbols")
    properties: dict[Any, Any] | None = amqp("map")


@dataclass(slots=True)
class Flow(Performative):
    code = 0x13
    next_incoming_id: int | None = amqp("uint")
    incoming_window: int = amqp("uint", mandatory=True)
    next_outgoing_id: int = amqp("uint", mandatory=True)
    outgoing_window: int = amqp("uint", mandatory=True)
    handle: int | None = amqp("uint")
    delivery_count: int | None = amqp("uint")
    link_credit: int | None = amqp("uint")
    available: int | None = amqp("uint")
    drain: bool | None = amqp("boolean")
    echo: bool | None = amqp("boolean")
    properties: Any = amqp("map")


@dataclass(slots=True)
class Transfer(Performative):
    code = 0x14
    handle: int = amqp("uint", mandatory=True)
    delivery_id: int | None = amqp("uint")
    delivery_tag: bytes | None = amqp("binary")
    message_format: int | None = amqp("uint")
    settled: bool | None = amqp("boolean")
    more: bool | None = amqp("boolean")
    rcv_settle_mode: int | None = amqp("ubyte")
    state: Any = amqp("any")
    resume: bool | None = amqp("boolean")
    aborted: bool | None = amqp("boolean")
    batchable: bool | None = amqp("boolean")


@dataclass(slots=True)
class Disposition(Performative):
    code = 0x15
    role: bool = amqp("boolean", mandatory=True)
    first: int = amqp("uint", mandatory=True)
    last: int | None = amqp("uint")
    settled: bool | None = amqp("boolean")
    state: Any = amqp("any")
    batchable: bool | None = amqp("boolean")


@dataclass(slots=True)
class Detach(Performative):
    code = 0x16
    handle: int = amqp("uint", mandatory=True)
    closed: bool | None = amqp("boolean")
    error: Any = amqp("any")


@dataclass(slots=True)
class End(Performative):
    code = 0x17
    error: Any = amqp("any")


@dataclass(slots=True)
class Close(Performative):
    code = 0x18
    error: Any = amqp("any")


@dataclass(slots=True)
class SaslMechanisms(Performative):
    code = 0x40
    mechanisms: Any = amqp("symbols", mandatory=True)


@dataclass(slots=True)
class SaslInit(Performative):
    code = 0x41
    mechanism: Symbol = amqp("symbol", mandatory=True)
    initial_response: bytes | None = amqp("binary")
    hostname: str | None = amqp("string")


@dataclass(slots=True)
class SaslOutcome(Performative):
    code = 0x44
    outcome: int = amqp("ubyte", mandatory=True)
    additional_data: bytes | None = amqp("binary")


_KINDS: dict[int, type[Performative]] = {
    kind.code: kind for kind in (Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close, SaslInit, SaslOutcome)
}


def read_performative(body: bytes) -> tuple[Performative, bytes]:
    """Parse the performative of a frame body, and return it with the payload after it.

    Raises:
        MalformedAmqp: unknown, with too many fields, without a mandatory one, or with one of the wrong type.
    """
    described, end = decode(body)
    if not isinstance(described, Described) or described.descriptor not in _KINDS or not isinstance(described.value, list):
        raise MalformedAmqp("a frame that holds no performative")
    kind = _KINDS[described.descriptor]
    known = fields(kind)
    if len(described.value) > len(known):
        raise MalformedAmqp(f"{kind.__name__} with {len(described.value)} fields")
    performative = kind()
    for each, value in zip(known, described.value, strict=False):
        allowed = _READ[each.metadata["kind"]]
        if value is not None and (not isinstance(value, allowed) or (isinstance(value, bool) and int in allowed)):
            raise MalformedAmqp(f"{kind.__name__}.{each.name} is a {type(value).__name__}")
        setattr(performative, each.name, value)
    for each in known:
        if each.metadata["mandatory"] and getattr(performative, each.name) is None:
            raise MalformedAmqp(f"{kind.__name__} without {each.name}")
    return performative, body[end:]


def frame(channel: int, performative: Performative | None, payload: bytes = b"", *, sasl: bool = False) -> bytes:
    """Build a whole frame; without a performative it is the empty frame that keeps a connection alive."""
    body = (performative.encode() if performative else b"") + payload
    return struct.pack(">IBBH", len(body) + 8, 2, 1 if sasl else 0, channel) + body


def error(condition: str, description: str) -> Described:
    """Build an `error` with a condition such as `amqp:not-found`."""
    return Described(ULong(0x1D), [Symbol(condition), description, None])


ACCEPTED = Described(ULong(0x24), [])
RELEASED = Described(ULong(0x26), [])
MODIFIED = Described(ULong(0x27), [True, False, None])


def rejected(condition: str, description: str) -> Described:
    """Build the outcome `rejected`, with its error."""
    return Described(ULong(0x25), [error(condition, description)])
