"""One session of the doctor at a broker: counts what comes in, acknowledges it only on request, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from edgerouter.mqtt.abilities import Abilities
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.connection import Connection, Credentials, Options
from edgerouter.mqtt.incoming import encode_pubacks
from edgerouter.mqtt.packets import (
    DISCONNECT,
    FORGET_SESSION,
    PUBACK,
    PUBLISH,
    MalformedPacket,
    PacketReader,
    encode_publish,
)
from edgerouter.mqtt.properties import parse_length
from edgerouter.mqtt.settings import BrokerSettings

LARGEST: Final = 2 * 1024**2
"""Bytes of a packet that the doctor reads; a larger publish is discarded while it streams by."""
MOST_MESSAGES: Final = 20_000
MOST_BYTES: Final = 32 * 1024**2
"""Bounds of what a broker may send to one session: beyond them it is cut off."""
LONGEST_TEXT: Final = 256
"""Bytes of a payload that are kept."""
_FIRST_ID: Final = 30_000
"""Packet ids of publishes: far from those of subscriptions, which the MQTT client counts from 1."""
_IDS: Final = 30_000
_WINDOW: Final = 100
"""Messages in flight to a broker."""
_STALL: Final = 5.0
"""Seconds without an answer after which a broker is not expected to send any more."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message of the broker."""

    topic: str
    retained: bool
    size: int
    beginning: bytes
    """First bytes of the payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Properties of a session."""

    version5: bool
    client_id: str
    clean: bool = True
    expiry: int = 0
    """Seconds that the broker is asked to keep the session."""
    receive_maximum: int | None = None
    acknowledges: bool = False
    """Acknowledge each message as it comes."""


def new_client_id() -> str:
    """Return a client id that no other client has; 3.1.1 guarantees 23 characters."""
    return f"edgerouter-doctor{secrets.token_hex(3)}"


class Session:
    """A connection that `opened` makes."""

    def __init__(self, settings: BrokerSettings, wanted: Wanted, credentials: Credentials) -> None:
        self.arrived: list[Arrival] = []
        self.unacknowledged: list[int] = []
        """Packet ids of messages that wait for an acknowledgement."""
        self.codes: Counter[int] = Counter()
        """Reason codes of the broker's acknowledgements."""
        self.version5 = wanted.version5
        self._wanted = wanted
        self._bytes = 0
        self._sent = 0
        self._answered = 0
        self._progress = asyncio.Event()
        self._reader = PacketReader(self._packet, largest=LARGEST)
        options = Options(
            client_id=wanted.client_id,
            version5=wanted.version5,
            clean=wanted.clean,
            session_expiry=wanted.expiry,
            receive_maximum=wanted.receive_maximum,
            maximum_packet_size=LARGEST,
        )
        self.connection = Connection(settings, options, credentials, self)

    @property
    def abilities(self) -> Abilities:
        """Abilities that the broker has stated."""
        return self.connection.abilities

    @property
    def lost(self) -> str:
        """Reason of the connection's end; empty while it stands."""
        self.connection.client.notice_failure()
        return self.connection.lost.result()[0] if self.connection.lost.done() else ""

    async def subscribe(self, topic_filter: str, qos: int = 1) -> str:
        """Subscribe; returns the reason of a refusal, else nothing."""
        try:
            refused = await self.connection.calls.subscribe({topic_filter: qos}, replay=True)
        except ConnectFailed as error:
            return str(error)
        return refused.get(topic_filter, "")

    async def publish(self, topic: str, payload: bytes, *, count: int = 1, retain: bool = False, seconds: float = 15.0) -> int:
        """Publish with QoS 1 and return the number of messages that the broker has acknowledged in time.

        Args:
            topic: below the doctor's topic.
            payload: of every message.
            count: number of messages.
            retain: the broker is to keep it.
            seconds: to take at most.
        """
        window = min(_WINDOW, self.abilities.receive_maximum)
        properties = b"\x00" if self.version5 else b""
        first = self._answered = self._sent
        deadline = time.monotonic() + seconds
        while self._answered - first < count and not self.lost and time.monotonic() < deadline:
            room = min(window - (self._sent - self._answered), count - (self._sent - first))
            numbers = [_FIRST_ID + (self._sent + offset) % _IDS for offset in range(room)]
            packets = [
                encode_publish(topic, payload, 1, number, retain=retain, again=False, properties=properties) for number in numbers
            ]
            self._sent += room
            if packets:
                self.connection.client.send(b"".join(packets))
            if not await self._moved(min(_STALL, deadline - time.monotonic())):
                break
        return self._answered - first

    async def arrive(self, count: int, *, quiet: float, seconds: float = 10.0) -> int:
        """Wait for messages and return how many came.

        Args:
            count: number after which nothing more is waited for.
            quiet: seconds without a message after which no other is expected.
            seconds: to take at most.
        """
        deadline = time.monotonic() + seconds
        while len(self.arrived) < count and not self.lost and (left := deadline - time.monotonic()) > 0:
            seen = len(self.arrived)
            if not await self._moved(min(quiet, left)) and len(self.arrived) == seen:
                break
        return len(self.arrived)

    def acknowledge(self, most: int | None = None) -> None:
        """Acknowledge messages that have come, in their order."""
        some, self.unacknowledged = self.unacknowledged[:most], self.unacknowledged[len(self.unacknowledged[:most]) :]
        if some and not self.lost:
            self.connection.client.send(encode_pubacks(some))

    async def close(self, *, keep: bool = False) -> None:
        """Disconnect; the session ends too, unless it is to be kept."""
        if not self.lost:
            with suppress(OSError):
                await self.connection.client.finish(DISCONNECT if keep or not self.version5 else FORGET_SESSION)
        self.connection.client.close("closed")

    async def _moved(self, seconds: float) -> bool:
        """Wait for the next packet; returns false when none came in time."""
        self._progress.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._progress.wait()
                return True
        return False

    def received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._reader.feed(data)
        self._progress.set()
        if len(self.arrived) >= MOST_MESSAGES or self._bytes >= MOST_BYTES:
            self.connection.cut("the broker sends far more than was asked for")
        elif self._wanted.acknowledges:
            self.acknowledge()

    def accepted(self) -> None:
        """Nothing is to be prepared."""

    def ended(self) -> None:
        self._progress.set()

    def written(self) -> None:
        """Nothing waits for the socket."""

    def keep_alive_sent(self) -> None:
        """Nothing is fenced."""

    def _packet(self, command: int, body: bytes) -> bool:
        kind = command & 0xF0
        if kind == PUBLISH:
            self._arrive(command, body)
        elif kind == PUBACK:
            self._answered += 1
            self.codes[body[2] if len(body) > 2 else 0] += 1
        else:
            return self.connection.handle(command, body)
        return not self.connection.lost.done() and len(self.arrived) < MOST_MESSAGES

    def _arrive(self, command: int, body: bytes) -> None:
        qos = command >> 1 & 3
        end = 2 + int.from_bytes(body[:2])
        at = end + (2 if qos else 0)
        if self.version5:
            length, at = parse_length(body, at)
            at += length
        if at > len(body) or qos > 1:
            raise MalformedPacket("a publish that is cut off, or of a QoS that was not asked for")
        if qos:
            self.unacknowledged.append(int.from_bytes(body[end : end + 2]))
        topic = body[2:end][:LONGEST_TEXT].decode(errors="replace")
        self.arrived.append(Arrival(topic, bool(command & 1), len(body) - at, body[at : at + LONGEST_TEXT]))


async def connected(settings: BrokerSettings, wanted: Wanted) -> Session:
    """Connect. A connect cannot be cancelled: when this is, it waits for the end of the connect and closes the connection.

    Raises:
        ConnectFailed: the broker is not there, or refuses the session.
    """
    session = Session(settings, wanted, await Credentials.read(settings))
    connecting = asyncio.ensure_future(session.connection.connect())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.wait((connecting,))
        if not connecting.cancelled() and connecting.exception() is None:
            await session.close()
        raise
    return session


@asynccontextmanager
async def opened(settings: BrokerSettings, wanted: Wanted, *, keep: bool = False) -> AsyncIterator[Session]:
    """Open a session for the length of a `with`.

    Raises:
        ConnectFailed: the broker is not there, or refuses the session.
    """
    session = await connected(settings, wanted)
    try:
        yield session
    finally:
        await session.close(keep=keep)
