"""A message on its way through steps: as it is stored, as it will be sent, and the document that its payload holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from edgerouter.errors import BadInput
from edgerouter.json_codec import MOST_BYTES, decode, decoded, encode, encoded
from edgerouter.message import Message

UNREAD: Final[Any] = msgspec.UNSET
"""`Item.read` before anything has asked for the document."""

_replace = msgspec.structs.replace


class Stored(msgspec.Struct, eq=False, gc=False):
    """A stored message that several results stand for, or that stands with others behind one result."""

    message: Message
    open: int = 1
    """Items and results that are not settled yet."""
    delivered: bool = False
    """One of them was."""


class Item(msgspec.Struct, eq=False, gc=False):
    """A message on its way through the steps of one sink."""

    message: Message
    """As it will be sent, but for a payload that is made from `read` at the end."""
    original: Message
    """As it is stored. Of several: the first."""
    read: Any = UNREAD
    """Document that the payload holds, shared with other sinks: never changed in place. `BadInput`: the payload is not JSON."""
    changed: bool = False
    """The payload is made from `read` when all steps are done."""
    behind: tuple[Stored, ...] | None = None
    """Messages that it stands for; `None` = for `original` alone, and as the only one."""

    @property
    def document(self) -> Any:
        """The payload, decoded from JSON; not to be changed in place.

        Raises:
            BadInput: it is not JSON.
        """
        if self.read is UNREAD:
            self.read = decoded(self.message.payload)
        if isinstance(self.read, BadInput):
            raise self.read
        return self.read

    def becomes(self, document: Any) -> None:
        """Have another document, which becomes the payload."""
        self.read = document
        self.changed = True

    @property
    def payload(self) -> bytes:
        """The payload as it stands.

        Raises:
            BadInput: the document is not one of JSON.
        """
        if not self.changed:
            return self.message.payload
        try:
            return encoded(self.read)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput("wrong type", str(error)[:200]) from error

    def finish(self) -> None:
        """Make the payload from the document, if that has changed.

        Raises:
            ValueError, TypeError, RecursionError: it is not a JSON document.
        """
        for _, error in finish_all((self,)):
            raise error

    def carries(self, payload: bytes) -> None:
        """Have another payload, of any bytes."""
        self.message = _replace(self.message, payload=payload)
        self.read, self.changed = UNREAD, False

    def parts(self, documents: Sequence[Any]) -> list[Item]:
        """Return an item for each document, of which there is at least one; they take the place of this one.

        They have `.1`, `.2` behind its id.
        """
        message = self.message
        behind = (Stored(self.original),) if self.behind is None else self.behind
        for stored in behind:
            stored.open += len(documents) - 1
        self.behind = ()  # it stands for nothing any more
        return [
            Item(
                # a nanosecond apart, for stores that keep one value for each time
                msgspec.structs.replace(message, part=f"{message.part}.{number}", received_at=message.received_at + number - 1),
                self.original,
                document,
                changed=True,
                behind=behind,
            )
            for number, document in enumerate(documents, start=1)
        ]

    @staticmethod
    def merged(items: Sequence[Item], document: Any, *, received_at: int, topic: str | None = None) -> Item:
        """Return one item that stands for all of these, which a step held; its id names the first and the last of them."""
        first, last = items[0], items[-1]
        part = first.message.part + (f"~{last.message.place}" if first is not last else "")
        topic = first.message.topic if topic is None else topic
        message = msgspec.structs.replace(first.message, topic=topic, part=part, received_at=received_at)
        behind: list[Stored] = []
        for item in items:
            if item.behind:
                behind += item.behind
            else:
                behind.append(Stored(item.original))
        return Item(message, first.original, document, changed=True, behind=tuple(behind))


def decode_all(items: Iterable[Item]) -> None:
    """Decode the payload of each item that has not been read."""
    for item in items:
        if item.read is UNREAD:
            payload = item.message.payload
            if len(payload) <= MOST_BYTES:
                try:
                    item.read = decode(payload)
                except (msgspec.DecodeError, ValueError, RecursionError) as error:
                    item.read = BadInput("not JSON", str(error))
            else:
                item.read = decoded(payload)


def finish_all(items: Iterable[Item]) -> list[tuple[Item, Exception]]:
    """Make the payload of each item whose document has changed; returns those whose document is not one of JSON."""
    unfit: list[tuple[Item, Exception]] = []
    for item in items:
        if item.changed:
            try:
                payload = encode(item.read)
            except (ValueError, TypeError, RecursionError, OverflowError):
                try:
                    payload = encoded(item.read)
                except (ValueError, TypeError, RecursionError) as error:
                    unfit.append((item, error))
                    continue
            item.message = _replace(item.message, payload=payload)
            item.changed = False
    return unfit
