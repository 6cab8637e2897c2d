"""Receives the messages of some topic filters, for programs that need the present value and no session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, Self

from edgerouter.errors import Unavailable
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.connection import Connection, Credentials, Options
from edgerouter.mqtt.packets import DISCONNECT, PUBACK, PUBLISH, MalformedPacket, PacketReader
from edgerouter.mqtt.properties import parse_properties
from edgerouter.mqtt.reasons import disconnected
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.mqtt.version import VersionChoice
from edgerouter.tasks.beat import until_beat

_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the connection still stands."""
_QOS: Final = 0b110
"""Flags of a PUBLISH that hold its quality of service."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that a broker has sent."""

    topic: str
    payload: bytes
    retained: bool
    """True for one that the broker had kept."""


class Subscriber:
    """A connection that `connect` has made; the broker keeps no session.

    QoS 1 with MQTT 5. With 3.1.1, where a broker cannot be asked to leave out messages that are too large, QoS 0: a message of
    QoS 1 that is discarded unacknowledged would occupy a place in the broker's window for ever.

    Args:
        settings: how to reach the broker.
        options: contents of the CONNECT.
        credentials: of this connection.
        on_message: gets each message; returns soon.
        largest: bytes of a packet beyond which a message is discarded while it streams by.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        options: Options,
        credentials: Credentials,
        on_message: Callable[[Arrived], None],
        largest: int,
    ) -> None:
        self._where = str(settings.address)
        self._version5 = options.version5
        self._on_message = on_message
        self._reader = PacketReader(self._packet, largest=largest)
        self._connection = Connection(settings, options, credentials, self)
        self._ended = asyncio.Event()

    @classmethod
    async def connect(
        cls,
        settings: BrokerSettings,
        client_id: str,
        on_message: Callable[[Arrived], None],
        *,
        protocol: Literal["auto", "5", "3.1.1"] = "auto",
        largest: int = 1024**2,
    ) -> Self:
        """Connect. Never cancel it; see `edgerouter.mqtt.connection`.

        Args:
            settings: how to reach the broker.
            client_id: unique among the broker's clients.
            on_message: gets each message; returns soon.
            protocol: version of MQTT; `auto` tries 5 and falls back to 3.1.1.
            largest: bytes of a packet beyond which a message is discarded while it streams by.

        Raises:
            Unavailable: the broker is not there, or refuses us.
        """
        choice = VersionChoice(protocol, "", patient=False)
        while True:
            version5 = choice.version == "5"
            options = Options(client_id=client_id, version5=version5, clean=True, maximum_packet_size=largest if version5 else None)
            try:
                subscriber = cls(settings, options, await Credentials.read(settings), on_message, largest)
                await subscriber._begin()
            except ConnectFailed as error:
                if choice.failed(error):
                    continue
                raise error.error from None
            return subscriber

    async def _begin(self) -> None:
        await self._connection.connect()

    @property
    def lost(self) -> Unavailable | None:
        """Reason of the connection's end; `None` while it stands."""
        self._connection.client.notice_failure()
        if not self._connection.lost.done():
            return None
        reason, code = self._connection.lost.result()
        error = disconnected(code, reason, self._where)
        return error if isinstance(error, Unavailable) else Unavailable(str(error))

    async def subscribe(self, filters: Iterable[str]) -> Mapping[str, str]:
        """Subscribe to topic filters, and return those that the broker refuses, with its reason.

        Raises:
            Unavailable: the connection is gone, or the broker does not answer.
        """
        qos = 1 if self._version5 else 0
        try:
            return await self._connection.calls.subscribe(dict.fromkeys(filters, qos), replay=True)
        except ConnectFailed as error:
            raise Unavailable(f"{self._where}: {error}") from None

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        """Unsubscribe from topic filters; raises as `subscribe` does."""
        try:
            await self._connection.calls.unsubscribe(list(filters))
        except ConnectFailed as error:
            raise Unavailable(f"{self._where}: {error}") from None

    async def until_lost(self) -> Unavailable:
        """Return the reason once the connection has ended."""
        while (error := self.lost) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(until_beat(_LOOK_SECONDS)):
                    await self._ended.wait()
        return error

    async def close(self) -> None:
        """Disconnect."""
        if not self._connection.lost.done():
            with suppress(OSError):
                await self._connection.client.finish(DISCONNECT)
        self._connection.client.close("closed")

    def received(self, data: bytes) -> None:
        self._reader.feed(data)

    def accepted(self) -> None:
        pass

    def ended(self) -> None:
        self._ended.set()

    def written(self) -> None:
        pass

    def keep_alive_sent(self) -> None:
        pass

    def _packet(self, command: int, body: bytes) -> bool:
        if command & 0xF0 != PUBLISH:
            return self._connection.handle(command, body)
        at = 2 + int.from_bytes(body[:2])
        topic = body[2:at].decode(errors="replace")
        if command & _QOS:
            identifier = body[at : at + 2]
            at += 2
            if len(identifier) < 2:
                raise MalformedPacket("a publish without a packet id")
            self._connection.client.queue(bytes((PUBACK, 2)) + identifier)
        if self._version5:
            _, at, _, _ = parse_properties(body, at, len(body))
        if at > len(body):
            raise MalformedPacket("a topic is longer than its packet")
        self._on_message(Arrived(topic, body[at:], bool(command & 1)))
        return not self._connection.lost.done()
