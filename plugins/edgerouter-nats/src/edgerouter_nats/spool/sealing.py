"""Deliveries as chunks that the server takes: joined, divided where they are too large, encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edgerouter.message import Message
from edgerouter.spool.log.chunk import NewChunk, Receipt
from edgerouter.spool.log.grouping import Append, group
from edgerouter_nats.spool.link import Link
from edgerouter_nats.spool.routing import Routing
from edgerouter_nats.spool.stored import Envelopes, Sealed

MOST_BYTES: Final = 900 * 1024
"""Most bytes of a chunk as it is stored, below the server's default `max_payload` of 1 MiB."""
HEADERS: Final = 1024
"""Most bytes of a chunk's headers, which count against the server's `max_payload`."""


class TooLarge(Exception):
    """A message is longer than the server takes.

    Args:
        message: the message.
        size: its bytes as it would be stored.
    """

    def __init__(self, message: Message, size: int) -> None:
        super().__init__(f"{size} bytes on {message.topic}")
        self.message = message
        self.size = size


class Sealing:
    """Makes chunks.

    Args:
        link: knows the server's `max_payload`.
        envelopes: encode chunks.
        routing: the sinks that are counted.
    """

    def __init__(self, link: Link, envelopes: Envelopes, routing: Routing) -> None:
        self._link = link
        self._envelopes = envelopes
        self._routing = routing
        self._received = 0

    @property
    def max_payload(self) -> int:
        """Most bytes of a chunk that the server takes."""
        return self._link.max_payload

    def seal(self, appends: Sequence[Append]) -> list[Sealed]:
        """Return the chunks of deliveries, in the order in which they are to be stored.

        Raises:
            TooLarge: one message is.
        """
        chunks = group(appends, self._routing.matchers)
        return [part for new in with_receipts_at_the_end(chunks) for part in self._parts(new)]

    def divide(self, parts: Sequence[Sealed]) -> tuple[list[Sealed], list[TooLarge]]:
        """Return chunks that the server takes now in place of these, and the messages that it takes no more.

        A receipt that stands with such a message goes with it.
        """
        divided: list[Sealed] = []
        left_out: list[TooLarge] = []
        waiting = [part.new for part in reversed(parts)]
        while waiting:
            new = waiting.pop()
            try:
                divided += self._parts(new)
            except TooLarge as error:
                if len(new.messages) == 1:
                    left_out.append(error)
                else:
                    waiting += reversed(self._halves(new))
        return divided, left_out

    def _parts(self, new: NewChunk) -> list[Sealed]:
        sealed = self._envelopes.seal(new, self._routing.digests, self._received)
        most = self._link.max_payload - HEADERS
        if len(sealed.data) > min(MOST_BYTES, most) and len(new.messages) > 1:
            return [part for half in self._halves(new) for part in self._parts(half)]
        if len(sealed.data) > most:
            raise TooLarge(new.messages[0], len(sealed.data))
        if not new.only:
            self._received = sealed.times[-1]
        return [sealed]

    def _halves(self, new: NewChunk) -> list[NewChunk]:
        middle = len(new.messages) // 2
        first, second = new.messages[:middle], new.messages[middle:]
        counted = [NewChunk(first, self._counts(first, new.only), new.only, new.receipts)]
        counted.append(NewChunk(second, self._counts(second, new.only), new.only))
        return with_receipts_at_the_end(counted)

    def _counts(self, messages: Sequence[Message], only: int) -> dict[int, int]:
        if only:
            return {only: len(messages)}
        return {key: sum(matches(m.topic) for m in messages) for key, matches in self._routing.matchers.items()}


def with_receipts_at_the_end(chunks: Sequence[NewChunk]) -> list[NewChunk]:
    """Return the chunks with each receipt beside the last message of its delivery.

    Chunks are stored one after another, and a router may die in between. A receipt that is stored then has its whole delivery
    before it. Beside the first message it would have the source acknowledge messages that were never stored.
    """
    result: list[NewChunk] = []
    open_: list[Receipt] = []
    for chunk in chunks:
        count = len(chunk.messages)
        receipts = [*open_, *chunk.receipts]
        ended = [receipt for receipt in receipts if receipt.first + receipt.count <= count]
        open_ = [
            msgspec.structs.replace(receipt, first=receipt.first - count)
            for receipt in receipts
            if receipt.first + receipt.count > count
        ]
        result.append(msgspec.structs.replace(chunk, receipts=ended))
    return result
