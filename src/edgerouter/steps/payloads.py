"""Payloads that a step replaces by other bytes, with the properties that describe them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.message import Properties

_NONE = Properties()


def bounded(item: Item, most: int) -> bytes:
    """Return the payload of an item as it stands.

    Raises:
        BadInput: it is larger than allowed, or not one of JSON.
    """
    payload = item.payload
    if len(payload) > most:
        raise BadInput("too large", f"{len(payload)} bytes, {most} are allowed")
    return payload


def replace(item: Item, payload: bytes, *, text: bool, content_type: str | None, added: Sequence[tuple[str, str]] = ()) -> None:
    """Give an item another payload.

    Args:
        item: the message.
        payload: the new one.
        text: the payload is UTF-8; the payload format indicator of one that is not would make a broker refuse the message.
        content_type: the new one; `None` leaves that which is there.
        added: user properties, put behind those that are there.
    """
    item.carries(payload)
    message = item.message
    properties = message.properties or _NONE
    new = Properties(
        (*properties.user, *added),
        content_type or properties.content_type,
        properties.response_topic,
        properties.correlation_data,
        properties.expiry,
        properties.payload_is_text and text,
    )
    if new != properties:
        item.message = msgspec.structs.replace(message, properties=new)
