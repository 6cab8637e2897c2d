"""The receipt of a delivery of the MQTT source: the session, and the packet id of each message.

One byte of version, the session's token, one byte of flags, then the high bytes of all packet ids, their low bytes, and, if not all
messages are of QoS 1, the first byte of the answer to each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC, Batch
from edgerouter.sources.mqtt.state import TOKEN_BYTES

_VERSION: Final = b"\x01"
_HEADER: Final = 1 + TOKEN_BYTES + 1
_ACK: Final = 4
_MIXED: Final = 1
_IDS_REUSED: Final = 2


def receipt_of(batch: Batch, token: bytes, *, ids_reused: bool) -> bytes:
    """Build the receipt of a batch.

    Args:
        batch: messages received together.
        token: identifies the session.
        ids_reused: no receipt of this session counts, because its broker reuses acknowledged packet ids at once.
    """
    acks = batch.acks
    if batch.unstored:
        unstored = set(batch.unstored)
        acks = bytearray().join(acks[at : at + _ACK] for at in range(0, len(acks), _ACK) if at not in unstored)
    kinds = bytes(acks[::_ACK])
    mixed = kinds.count(PUBACK[0]) != len(kinds)
    header = _VERSION + token + bytes((_MIXED * mixed | _IDS_REUSED * ids_reused,))
    return header + bytes(acks[2::_ACK]) + bytes(acks[3::_ACK]) + (kinds if mixed else b"")


def entries_of_receipts(deliveries: Sequence[Delivery], token: bytes) -> list[tuple[bytes, Message]]:
    """Return answer and message of all deliveries of this session, in order; none if its packet ids are ambiguous."""
    found: list[tuple[bytes, Message]] = []
    for delivery in deliveries:
        receipt = delivery.receipt
        messages = [message for message in delivery.messages if message.qos]
        count = len(messages)
        if receipt[: _HEADER - 1] != _VERSION + token or len(receipt) < _HEADER:
            continue
        flags, ids = receipt[_HEADER - 1], receipt[_HEADER:]
        if flags & _IDS_REUSED:
            return []
        mixed = flags & _MIXED
        if len(ids) != count * (3 if mixed else 2):
            continue
        for at, message in enumerate(messages):
            ack = PUBACK if not mixed or ids[2 * count + at] == PUBACK[0] else PUBREC
            found.append((ack + bytes((ids[at], ids[count + at])), message))
    return found


def split(acks: bytes | bytearray) -> Iterator[bytes]:
    """Yield each answer."""
    return (bytes(acks[at : at + _ACK]) for at in range(0, len(acks), _ACK))


def entries(batch: Batch) -> Iterator[tuple[bytes, Message]]:
    """Yield answer and message for all messages of QoS 1 and 2 of a batch."""
    unstored = set(batch.unstored)
    acks = (ack for at, ack in zip(range(0, len(batch.acks), _ACK), split(batch.acks), strict=True) if at not in unstored)
    return zip(acks, (message for message in batch.messages if message.qos), strict=True)
