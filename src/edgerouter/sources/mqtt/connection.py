"""One connection to a broker, from CONNECT to its end; every connection uses a new object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

from edgerouter.mqtt import connection as mqtt
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import DISCONNECT, PUBREL, MalformedPacket
from edgerouter.mqtt.version import Version
from edgerouter.sources.mqtt.broker import why_not
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.duplicates import DuplicateFilter
from edgerouter.sources.mqtt.in_flight import PUBCOMP, InFlight
from edgerouter.sources.mqtt.inflow import Inflow
from edgerouter.sources.mqtt.options import connect_options
from edgerouter.sources.mqtt.read_ahead import Allowance
from edgerouter.sources.mqtt.receipt import split
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.stream import PublishStream


class Connection:
    """A connection opened by `connect`: it puts received messages in flight and sends their answers.

    Args:
        config: the source's configuration.
        client_id: the client id.
        version: version of MQTT.
        credentials: credentials of this connection.
        in_flight: destination of messages.
        redelivery: learns about the session.
        duplicates: filters publishes that may have been received before.
        limits: bounds of a publish.
        allowance: bounds the bytes read ahead.
        flush_now: called when the broker waits for acknowledgements.
        probe: receive no messages.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client_id: str,
        version: Version,
        credentials: mqtt.Credentials,
        *,
        in_flight: InFlight,
        redelivery: Redelivery,
        duplicates: DuplicateFilter,
        limits: PacketLimits,
        allowance: Allowance,
        flush_now: Callable[[], None],
        probe: bool = False,
    ) -> None:
        link = mqtt.Connection(config, connect_options(config, client_id, version, limits), credentials, self)
        self.link = link
        """The underlying MQTT connection."""
        self._config = config
        self._in_flight = in_flight
        self._redelivery = redelivery
        stream = PublishStream(
            in_flight,
            version5=link.version5,
            duplicates=duplicates,
            other_packet=self._other_packet,
            releases=self._released,
            limits=limits,
            ignores_messages=probe,
        )
        self._inflow = Inflow(
            in_flight,
            stream,
            link.client,
            allowance=allowance,
            window=config.receive_window if link.version5 else config.broker_window,
            flush_now=flush_now,
            cut=link.cut,
            other_answer=link.handle,
            awaits_release=lambda: redelivery.awaits_release,
        )

    async def connect(self) -> None:
        """Connect and keep receiving messages. Never cancel it; see `edgerouter.mqtt.connection`.

        Raises:
            ConnectFailed: the broker is unreachable, or refuses the connection.
        """
        self._in_flight.begin_connection(self._inflow)
        await self.link.connect()

    async def subscribe(self, filters: Mapping[str, int]) -> dict[str, str]:
        """Subscribe, and return the refused filters with the reasons.

        Raises:
            ConnectFailed: the connection is lost, or the broker does not answer.
        """
        refused = {each: why for each in filters if (why := why_not(self.link.abilities, each)) is not None}
        wanted = {each: qos for each, qos in filters.items() if each not in refused}
        retained = self._config.retained
        return refused | await self.link.calls.subscribe(wanted, replay=retained != "drop", as_published=retained == "as_published")

    async def publish_status(self, status: Literal["online", "offline"]) -> None:
        """Publish on the status topic.

        Raises:
            ConnectFailed: the connection is lost, or the broker does not answer.
        """
        if self._config.status_topic is not None:
            abilities = self.link.abilities
            qos = min(1, abilities.maximum_qos)
            await self.link.calls.publish(self._config.status_topic, status, qos=qos, retain=abilities.retain)

    def tick(self) -> None:
        """Check periodically that the connection is alive, and keep it alive while nothing is read."""
        self._inflow.tick()
        self.link.client.notice_failure()

    async def close(self) -> None:
        """Disconnect as the specification requires: the broker keeps the session and does not publish the last will.

        The broker reads every acknowledgement before its half of the connection ends, or a timeout elapses.
        """
        if not self.link.lost.done():
            with suppress(ConnectFailed):
                await self.publish_status("offline")
        if await self.link.client.finish(DISCONNECT):
            self._in_flight.unconfirmed.read_to_the_end()
        self.link.client.close("closed")

    def received(self, data: bytes) -> None:
        self._inflow.received(data)

    def accepted(self) -> None:
        self._redelivery.connected(session_present=self.link.session_present)

    def ended(self) -> None:
        self._in_flight.end_connection()

    def written(self) -> None:
        pass

    def keep_alive_sent(self) -> None:
        self._inflow.fence.keep_alive_sent()

    def _other_packet(self, command: int, body: bytes) -> bool:
        if command == PUBREL:
            if len(body) < 2:
                raise MalformedPacket("a PUBREL without a packet id")
            self._released(bytes((PUBREL, 2)) + body[:2])
            return True
        return self._inflow.answered(command, body)

    def _released(self, packets: bytes) -> None:
        """Answer PUBRELs of four bytes each: their messages are stored since their PUBRECs were sent."""
        self._redelivery.released(split(packets))
        completed = bytearray(packets)
        completed[::4] = PUBCOMP[:1] * (len(packets) // 4)
        self.link.answer(bytes(completed))
        self._inflow.released(len(packets) // 4)
