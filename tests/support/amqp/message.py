"""Sections of an AMQP message (part 3.2 of the specification), in the required order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.amqp.codec import Described, MalformedAmqp, Symbol, ULong, decode_all, encode

_PROPERTIES = (
    "message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type", "content-encoding",
    "absolute-expiry-time", "creation-time", "group-id", "group-sequence", "reply-to-group-id",
)  # fmt: skip


@dataclass(slots=True)
class AmqpMessage:
    """A message; `body` is the list of data sections, or the single value."""

    header: list[Any] = field(default_factory=list)
    annotations: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    application_properties: dict[str, Any] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)
    value: Any = None

    def encode(self) -> bytes:
        sections = []
        if self.annotations:
            sections.append(Described(ULong(0x72), {Symbol(name): value for name, value in self.annotations.items()}))
        if self.properties:
            sections.append(Described(ULong(0x73), [self.properties.get(name) for name in _PROPERTIES]))
        if self.application_properties:
            sections.append(Described(ULong(0x74), self.application_properties))
        sections += [Described(ULong(0x75), part) for part in self.data]
        if not self.data:
            sections.append(Described(ULong(0x77), self.value))
        return b"".join(map(encode, sections))


def read_message(payload: bytes, *, bodiless: bool = False) -> AmqpMessage:
    """Parse the message in `payload`; `bodiless` = it may lack a body, as the client's management requests do.

    Raises:
        MalformedAmqp: a section out of order, of the wrong type or unknown, or no body.
    """
    message, last, bodies = AmqpMessage(), 0, set()
    for section in decode_all(payload):
        if not isinstance(section, Described) or not isinstance(section.descriptor, int):
            raise MalformedAmqp("a section without a descriptor")
        kind, value = section.descriptor, section.value
        if kind < last or (kind == last and kind not in {0x75, 0x76}):
            raise MalformedAmqp(f"section 0x{kind:02x} after 0x{last:02x}")
        last = kind
        match kind, value:
            case 0x70, list():
                message.header = value
            case 0x72, dict() if all(isinstance(name, Symbol) for name in value):
                message.annotations = {str(name): inner for name, inner in value.items()}
            case 0x73, list() if len(value) <= len(_PROPERTIES):
                message.properties = {name: v for name, v in zip(_PROPERTIES, value, strict=False) if v is not None}
            case 0x74, dict() if all(type(name) is str for name in value):
                _demand_simple(value)
                message.application_properties = value
            case 0x75, bytes():
                message.data.append(value)
            case 0x77, _:
                message.value = value
            case _:
                raise MalformedAmqp(f"section 0x{kind:02x} holds a {type(value).__name__}")
        bodies |= {kind} & {0x75, 0x77}
    if len(bodies) != 1 and not (bodiless and not bodies):
        raise MalformedAmqp("a message needs a body of one kind")
    return message


def _demand_simple(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, list | dict | tuple | Described):
            raise MalformedAmqp(f"application property {name} is not of a simple type")
