"""A message: one MQTT publish, as it travels from the broker to the sinks."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


class Properties(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """The MQTT 5 properties of a publish that concern its receiver (MQTT 5.0, 3.3.2.3)."""

    user: tuple[tuple[str, str], ...] = ()
    """User properties, in the order sent; a name may appear more than once."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expiry: int | None = None
    """Message expiry interval in seconds, as it stood when the message was received."""
    payload_is_text: bool = False
    """Payload format indicator: the publisher says that the payload is UTF-8 text."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One MQTT publish.

    A source makes messages with `spool` and `sequence` left at their defaults; the spool fills them in
    when it stores the message, and from then on `id` is unique for ever.
    """

    topic: str
    payload: bytes
    received_at: int
    """Time of reception by edgerouter: nanoseconds since 1970-01-01 UTC, by the wall clock. The spool moves messages of one
    read apart, so that each is at least a microsecond later than the one before it; see the guarantees."""
    qos: int = 0
    retained: bool = False
    properties: Properties | None = None
    spool: str = ""
    """Id of the spool that holds the message."""
    sequence: int = 0
    """Position in that spool: 1, 2, 3 ... without gaps; 0 = not stored yet."""
    source: str = ""
    """The MQTT source that received it, by its name in the configuration; empty where it came from elsewhere."""
    part: str = ""
    """Only in what a sink gets: distinguishes results of steps. `.2` is the second part of a message, `~160` one made of several of
    which the last is 160."""

    @property
    def id(self) -> str:
        """`<spool id>-<sequence><part>`: unique for ever, the same at each retry, for consumers that drop duplicates."""
        return f"{self.spool}-{self.sequence}{self.part}"

    @property
    def place(self) -> str:
        """`<sequence><part>`: the end of the id."""
        return f"{self.sequence}{self.part}"

    @property
    def time(self) -> datetime:
        """`received_at` as an aware UTC datetime, to the microsecond."""
        seconds, nanoseconds = divmod(self.received_at, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
