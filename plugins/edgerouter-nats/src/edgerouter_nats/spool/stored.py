"""A chunk as a JetStream message: the row that SQLite would store, without its number, and how it was routed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from edgerouter.message import Message
from edgerouter.spool.log.chunk import OVERHEAD, Chunk, Codec, Damaged, Header, NewChunk, Receipt, number, times_of
from edgerouter.spool.log.ledger import seal, unseal
from edgerouter_nats.spool.sequences import SLOTS, first_of

VERSION: Final = 1


class _Envelope(NamedTuple):
    version: int
    header: Header
    routed: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A chunk that is ready to be stored, and what it will be in memory."""

    data: bytes
    new: NewChunk
    times: Sequence[int]
    size: int

    def numbered(self, spool: str, stream_sequence: int) -> Chunk:
        """The chunk for readers, once its place is known."""
        first = first_of(stream_sequence)
        messages = number(self.new.messages, spool, first, self.times)
        return Chunk(first, messages, self.new.wanted, self.new.only, self.size, first + SLOTS)


@dataclass(frozen=True, slots=True)
class Opened:
    """A chunk that was read, with the filters by which its router counted."""

    chunk: Chunk
    routed: Mapping[int, int]
    """Digest of the topic filters of each sink that was counted, by the sink's key."""
    receipts: Sequence[Receipt]
    """Their first messages are counted from the beginning of the chunk."""


class Envelopes:
    """Turns chunks into JetStream messages and back."""

    def __init__(self, spool: str) -> None:
        self._spool = spool
        self._codec = Codec()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Envelope).decode
        self._decode_routed = msgspec.msgpack.Decoder(dict[int, int]).decode

    def seal(self, new: NewChunk, routed: Mapping[int, int], after: int) -> Sealed:
        """Encode messages that have no numbers yet.

        Args:
            new: the messages.
            routed: digest of the filters by which they were counted, by the key of the sink.
            after: when the newest message of this router before them was received, ns.
        """
        times = times_of(new.messages, new.only, after)
        messages = [
            Message(m.topic, m.payload, time, m.qos, m.retained, m.properties, "", 0, m.source)
            for m, time in zip(new.messages, times, strict=True)
        ]
        header, payload = self._codec.store(0, messages, new, times)
        data = self._encode(_Envelope(VERSION, header, seal(self._encode(routed)), payload))
        return Sealed(data, new, times, header.raw + OVERHEAD * len(messages))

    def mark(self) -> Sealed:
        """Encode a chunk without messages, which stands for a place in the stream."""
        new = NewChunk([], {})
        header, payload = self._codec.store(0, [], new, [0])
        return Sealed(self._encode(_Envelope(VERSION, header, seal(self._encode({})), payload)), new, [], header.raw)

    def open(self, stream_sequence: int, data: bytes) -> Opened:
        """Read a stored chunk.

        Raises:
            Damaged: it is not what was written.
        """
        try:
            envelope = self._decode(data)
            routed = self._decode_routed(unseal(envelope.routed))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Damaged(str(error)) from error
        if envelope.version != VERSION:
            raise Damaged(f"it was stored by a newer version, in format {envelope.version}")
        header = envelope.header
        plain = self._codec.open(header, envelope.payload)
        first = first_of(stream_sequence)
        messages = number(plain.messages, self._spool, first, [m.received_at for m in plain.messages])
        chunk = Chunk(first, messages, plain.wanted, plain.only, plain.size, first + SLOTS)
        return Opened(chunk, routed, self._codec.receipts(header))


def is_mark(chunk: Chunk) -> bool:
    """Return True for a chunk that was stored without messages; one that cannot be read has none either, and no size."""
    return not chunk.messages and chunk.size > 0


def counted_for(opened: Opened, sinks: Mapping[int, tuple[int, Callable[[str], bool]]]) -> Chunk:
    """Return the chunk with its counts for these sinks, counted anew where its router had other filters or did not count.

    Args:
        opened: the chunk.
        sinks: digest of the filters of each sink, and the filters, by key.
    """
    chunk = opened.chunk
    if chunk.only:
        return chunk
    missing = [key for key, (digest, _) in sinks.items() if opened.routed.get(key) != digest]
    if not missing:
        return chunk
    wanted = dict(chunk.wanted)
    topics = [message.topic for message in chunk.messages]
    for key in missing:
        wanted[key] = sum(map(sinks[key][1], topics))
    return Chunk(chunk.first, chunk.messages, wanted, chunk.only, chunk.size, chunk.end)
