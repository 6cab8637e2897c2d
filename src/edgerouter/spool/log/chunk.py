"""A chunk: the messages of one commit, as they are held in memory and as they are stored in one row."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from struct import error as StructError  # noqa: N812  (it is a class)
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

import msgspec
import zstandard

from edgerouter.message import Message
from edgerouter.spool.log.arrival_times import rising

MAX_MESSAGES: Final = 1000
"""Most messages of a chunk; a larger delivery is stored as several chunks in one transaction."""
MAX_BYTES: Final = 1024 * 1024
"""Payload bytes after which a chunk is closed. One message may be larger, and then has a chunk to itself."""

OVERHEAD: Final = 150
"""Approximate bytes of a message in memory beyond its topic and payload."""

FEW_TOPICS: Final = 3
"""Messages a topic from which on a chunk is indexed for its readers."""

T = TypeVar("T")
_HEADER = Struct("<QIQqqI")


class Damaged(Exception):
    """The stored bytes are not what was written."""


class _Topic(msgspec.Struct, array_like=True):
    """A message of which nothing but the topic matters; the rest is not decoded."""

    topic: str


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """A delivery's receipt, stored with the chunk in which its messages begin."""

    source: str
    first: int
    count: int
    receipt: bytes


class Header(NamedTuple):
    """A row of the table of chunks without its payload, in the order of the columns."""

    first: int
    messages: int
    raw: int
    """Bytes of the encoded messages before compression."""
    received: int
    """Earliest `received_at` of its messages, ns."""
    span: int
    """Latest `received_at` less `received`, ns."""
    wanted: bytes
    only: int
    receipts: bytes
    checksum: int


class NewChunk(msgspec.Struct, frozen=True):
    """Messages on their way into the spool."""

    messages: Sequence[Message]
    wanted: Mapping[int, int]
    """Number of the messages that each sink wants, by the sink's key; a sink that is missing wants none."""
    only: int = 0
    """Key of the one sink that these messages are for, whatever other sinks want; 0 = for all."""
    receipts: Sequence[Receipt] = ()


@dataclass(slots=True, frozen=True)
class Chunk:
    """Messages that the spool holds, in the order of their sequences, without starts."""

    first: int
    messages: list[Message]
    wanted: Mapping[int, int]
    only: int = 0
    size: int = 0
    """Bytes of memory that it takes, about."""
    end: int = 0
    """One above its last sequence; above also those that no message has, where chunks begin at fixed distances."""
    _places: dict[str, array[int]] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.end:
            object.__setattr__(self, "end", self.first + len(self.messages))

    def wanted_by(self, key: int, since: int) -> int | None:
        """Return the number of its messages that the sink wants; `None` if that was unknown when the chunk was stored."""
        return count_wanted(self.first, self.wanted, self.only, key, since)

    def matching(self, matches: Callable[[str], bool], start: int, stop: int) -> list[Message]:
        """Return those of its messages with a sequence in `[start, stop)` whose topics match.

        Many sinks ask the same chunk, each for a few topics: where topics repeat, each looks at the topics and not at the messages.
        """
        messages = self.messages
        whole = start <= self.first and stop >= self.first + len(messages)
        places = self._indexed() if whole else None
        if not places:
            part = messages if whole else messages[start - self.first : max(0, stop - self.first)]
            return [message for message in part if matches(message.topic)]
        found = [of_topic for topic, of_topic in places.items() if matches(topic)]
        return [messages[place] for place in (found[0] if len(found) == 1 else sorted(chain.from_iterable(found)))]

    def _indexed(self) -> dict[str, array[int]]:
        """The places of its messages by topic; empty where it has nearly as many topics as messages."""
        places = self._places
        if places is None:
            topics = [message.topic for message in self.messages]
            places = {topic: array("I") for topic in set(topics)}
            if len(places) * FEW_TOPICS > len(topics):
                places = {}
            else:
                for place, topic in enumerate(topics):
                    places[topic].append(place)
            object.__setattr__(self, "_places", places)
        return places


def count_wanted(first: int, wanted: Mapping[int, int], only: int, key: int, since: int) -> int | None:
    """Return the number of messages of a chunk that a sink wants.

    Args:
        first: the chunk's first sequence.
        wanted: the chunk's counts by sink.
        only: the chunk's only sink, or 0.
        key: the sink.
        since: counts hold for this sink from this sequence on.
    """
    if only:
        return wanted.get(key, 0) if only == key else 0
    return wanted.get(key, 0) if first >= since else None


def number(messages: Sequence[Message], spool: str, first: int, times: Iterable[int]) -> list[Message]:
    """The messages as a spool holds them, numbered from `first` and with these times of receipt."""
    return [
        Message(m.topic, m.payload, time, m.qos, m.retained, m.properties, spool, sequence, m.source)
        for m, time, sequence in zip(messages, times, range(first, first + len(messages)), strict=True)
    ]


def times_of(messages: Sequence[Message], only: int, after: int) -> list[int]:
    """Return when messages that are appended were received.

    Args:
        messages: in the order of their sequences.
        only: the key of the one sink that they are for, or 0. Replayed dead letters keep the times that they had.
        after: the time of the newest message before them, ns.
    """
    times = [m.received_at for m in messages]
    return times if only else rising(times, after)


def new_id() -> str:
    """An id for a spool: 65 random bits, short because it is stored with every message."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(13))


class Codec:
    """Turns chunks into rows and back. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[Message]).decode
        self._decode_topics = msgspec.msgpack.Decoder(list[_Topic]).decode
        self._decode_wanted = msgspec.msgpack.Decoder(dict[int, int]).decode
        self._decode_receipts = msgspec.msgpack.Decoder(tuple[Receipt, ...]).decode
        self._compress = zstandard.ZstdCompressor(level=1, write_checksum=False).compress
        self._decompress = zstandard.ZstdDecompressor().decompress

    def seal(self, new: NewChunk, spool: str, first: int, after: int) -> tuple[Header, bytes, Chunk]:
        """Number the messages from `first` and encode them: header, payload, and the chunk for readers.

        Args:
            new: the messages.
            spool: the spool's id.
            first: the sequence of the first one.
            after: when the newest message before them was received, ns.
        """
        times = times_of(new.messages, new.only, after)
        messages = number(new.messages, spool, first, times)
        header, payload = self.store(first, messages, new, times)
        return header, payload, Chunk(first, messages, new.wanted, new.only, header.raw + OVERHEAD * len(messages))

    def store(self, first: int, messages: list[Message], new: NewChunk, times: Sequence[int]) -> tuple[Header, bytes]:
        """Encode messages that have their numbers and these times of receipt."""
        raw = self._encode(messages)
        payload = self._compress(raw)
        if len(payload) >= len(raw):
            # told apart by its length
            payload = raw
        received = min(times)
        receipts = [Receipt(r.source, first + r.first, r.count, r.receipt) for r in new.receipts]
        unsigned = Header(
            first,
            len(messages),
            len(raw),
            received,
            max(times) - received,
            self._encode(new.wanted),
            new.only,
            self._encode(receipts) if receipts else b"",
            0,
        )
        return unsigned._replace(checksum=checksum(unsigned, payload)), payload

    def open(self, header: Header, payload: bytes) -> Chunk:
        """Read a stored chunk.

        Raises:
            Damaged: it is not what was written.
        """
        messages = self._content(header, payload, self._decode)
        return Chunk(header.first, messages, self.wanted(header), header.only, header.raw + OVERHEAD * header.messages)

    def topics(self, header: Header, payload: bytes) -> list[str]:
        """Read the topics of a stored chunk's messages.

        Raises:
            Damaged: it is not what was written.
        """
        return [each.topic for each in self._content(header, payload, self._decode_topics)]

    def _content(self, header: Header, payload: bytes, decode: Callable[[bytes], list[T]]) -> list[T]:
        if not self.is_sound(header, payload):
            raise Damaged("the checksum is wrong")
        try:
            raw = payload if len(payload) == header.raw else self._decompress(payload, max_output_size=header.raw)
            return decode(raw)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise Damaged(str(error)) from error

    def is_sound(self, header: Header, payload: bytes) -> bool:
        """Return True if the stored bytes are what was written.

        Raises:
            Damaged: they are not even of the right kind.
        """
        try:
            return checksum(header, payload) == header.checksum
        except (StructError, TypeError) as error:
            # a flipped bit in a row can change a column's type too
            raise Damaged(str(error)) from error

    def wanted(self, header: Header) -> dict[int, int]:
        """Return the number of messages that each sink wants.

        Raises:
            Damaged: the header is not what was written.
        """
        try:
            return self._decode_wanted(header.wanted)
        except msgspec.MsgspecError as error:
            raise Damaged(str(error)) from error

    def receipts(self, header: Header) -> tuple[Receipt, ...]:
        """The receipts of deliveries that begin in the chunk; call it after `open` has found the checksum right."""
        return self._decode_receipts(header.receipts) if header.receipts else ()


def checksum(header: Header, payload: bytes) -> int:
    """CRC-32 of every column but itself."""
    fields = _HEADER.pack(header.first, header.messages, header.raw, header.received, header.span, header.only)
    return crc32(payload, crc32(header.receipts, crc32(header.wanted, crc32(fields))))
