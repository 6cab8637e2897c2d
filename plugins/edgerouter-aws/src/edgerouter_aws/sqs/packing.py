"""Many messages in one message of SQS: JSON Lines as text, or gzip in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

from edgerouter import Message
from edgerouter.objects import encode, size_of
from edgerouter_aws.sqs.entry import ENCODING, attribute
from edgerouter_aws.sqs.queue import Entry

_ATTRIBUTES_BYTES = 300
"""More than the attributes of a pack can take."""
_ILLEGAL = ("\ufffe", "\uffff")
"""The only characters that may stand in JSON text and that SQS does not take; their escapes are three bytes longer."""


class Packs:
    """Makes one entry from many messages."""

    def __init__(self, framing: Literal["jsonl", "jsonl-exact"], *, gzip: bool) -> None:
        self._framing = framing
        self._gzip = gzip

    def room(self, max_message_bytes: int) -> int:
        """Bytes of JSON Lines that fit into one message whatever they hold; gzip is not counted on to make them fewer."""
        room = max_message_bytes - _ATTRIBUTES_BYTES
        return (room * 3 // 4) * 999 // 1000 - 64 if self._gzip else room

    def size_of(self, message: Message) -> int:
        """Bytes of the message's line, never too few."""
        size = size_of(message, self._framing)
        return size + 3 * _illegal(message) if not self._gzip else size

    def entry(self, batch: Sequence[Message]) -> Entry:
        """One entry for the whole batch."""
        first, last = batch[0], batch[-1]
        attributes = {
            "id": attribute(first.id if first is last else f"{first.id}-{last.place}"),
            "messages": {"DataType": "Number", "StringValue": str(len(batch))},
            "content_type": attribute("application/x-ndjson"),
        }
        if self._gzip:
            body = base64.b64encode(encode(batch, self._framing, "gzip")).decode()
            attributes[ENCODING] = attribute("gzip+base64")
        else:
            body = encode(batch, self._framing).decode()
            for character in _ILLEGAL:
                body = body.replace(character, f"\\u{ord(character):x}")
        return {"MessageBody": body, "MessageAttributes": attributes}


def _illegal(message: Message) -> int:
    count = message.payload.count(b"\xef\xbf")
    if not message.topic.isascii():
        count += sum(map(message.topic.count, _ILLEGAL))
    if message.properties is not None:
        count += repr(message.properties).count("\\uff")  # how they are shown, with some others
    return count
