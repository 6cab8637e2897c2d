"""One connection to a broker, from CONNECT to its end; a new object for every connection."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.mqtt.client import LOST, ReachedClient
from edgerouter.mqtt.closing import DISCONNECT
from edgerouter.mqtt.diagnosis import diagnose
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.sockets import in_words
from edgerouter.sources.mqtt.broker import Abilities
from edgerouter.sources.mqtt.calls import Calls, ConnectFailed
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.duplicates import DuplicateFilter
from edgerouter.sources.mqtt.in_flight import PUBCOMP, InFlight
from edgerouter.sources.mqtt.inflow import Inflow
from edgerouter.sources.mqtt.options import connect_properties, last_will, read_password
from edgerouter.sources.mqtt.protocol import Protocol
from edgerouter.sources.mqtt.read_ahead import PUBREL, Allowance
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.stream import PublishStream
from edgerouter.tls import ClientContext, TlsConfig, make_context

TAKEN_OVER: Final = 142
"""Reason code of a DISCONNECT: another client connected with the same client id (MQTT 5.0, 3.14.2.1)."""
_UNSUPPORTED_VERSION: Final = 132
_HINTS: Final = {
    154: "; remove `status_topic`, or `retain` from `last_will`",
    155: "; set a lower `qos` for `last_will`, and no `status_topic`",
}
"""Advice for a broker that refuses the last will: retained, or with this QoS."""
_SILENT: Final = logging.getLogger("edgerouter.mqtt.paho")
"""For what paho would log: each end of a connection, which the source says itself, with its reason."""
_SILENT.setLevel(logging.CRITICAL)


class Connection:
    """A connection that `connect` has made.

    Args:
        config: the source's configuration.
        client_id: the client id.
        protocol: the version of MQTT.
        in_flight: where messages go.
        redelivery: told about the session.
        duplicates: asked about publishes that may have been here before.
        limits: of a publish.
        allowance: bounds what is read ahead.
        hurry: called when the broker waits for acknowledgements.
        probe: take no messages.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client_id: str,
        protocol: Protocol,
        *,
        in_flight: InFlight,
        redelivery: Redelivery,
        duplicates: DuplicateFilter,
        limits: PacketLimits,
        allowance: Allowance,
        hurry: Callable[[], None],
        probe: bool = False,
    ) -> None:
        self.lost: asyncio.Future[tuple[str, int | None]] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended: the reason, and the broker's reason code where it gave one."""
        self.session_present = False
        self.version5 = protocol == "5"
        self.abilities = Abilities()
        self._config = config
        self._client_id = client_id
        self._in_flight = in_flight
        self._redelivery = redelivery
        self._duplicates = duplicates
        self._limits = limits
        self._allowance = allowance
        self._hurry = hurry
        self._probe = probe
        self._window = config.receive_window if self.version5 else config.broker_window
        self._answered = False
        self._client: aiomqtt.Client | None = None

    async def connect(self) -> None:
        """Connect and keep receiving messages.

        Never cancelled: a connect that is cancelled half-way goes on in its thread and stays up as a ghost with our client id.

        Raises:
            ConnectFailed: the broker is not there, or refuses us.
        """
        config = self._config
        address = config.address
        try:
            password = await asyncio.to_thread(read_password, config)
            context = await asyncio.to_thread(make_context, config.tls or TlsConfig()) if address.tls else None
        except (OSError, ValueError) as error:
            raise ConnectFailed(str(error)) from None
        client = self._client = aiomqtt.Client(
            address.host,
            address.port,
            username=config.username,
            password=password,
            identifier=self._client_id,
            logger=_SILENT,
            protocol=aiomqtt.ProtocolVersion.V5 if self.version5 else aiomqtt.ProtocolVersion.V311,
            will=last_will(config),
            clean_session=None if self.version5 else config.clean_session,
            clean_start=config.clean_session if self.version5 else MQTT_CLEAN_START_FIRST_ONLY,
            transport=address.transport,
            timeout=config.connect_timeout,
            keepalive=config.keepalive,
            properties=connect_properties(config, self._limits) if self.version5 else None,
            tls_context=context,
            tls_insecure=True if context is not None and not context.check_hostname else None,
            websocket_path=address.path or None,
            websocket_headers=config.read_websocket_headers() or None,
        )
        self._reached = ReachedClient(
            client, on_bytes=self._received, on_connack=self._connack, on_lost=self._ended, timeout=config.connect_timeout
        )
        self._stream = PublishStream(
            self._in_flight,
            version5=self.version5,
            duplicates=self._duplicates,
            other_packet=self._other_packet,
            limits=self._limits,
        )
        self._stream.ignores_messages = self._probe
        self.calls = Calls(client, self.lost, config, version5=self.version5, why_not=self._why_not)
        self._inflow = Inflow(
            self._in_flight,
            self._stream,
            self._reached,
            allowance=self._allowance,
            window=self._window,
            hurry=self._hurry,
            cut=self.cut,
            other_answer=self._other_answer,
        )
        self._in_flight.begin_connection(self._inflow)
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            failure = self._failure(error)
            self._abandon(context)
            if failure.unanswered and (found := await asyncio.to_thread(diagnose, address)) is not None:
                failure = ConnectFailed(found)
            raise failure from None
        except BaseException:
            self._abandon(context)
            raise

    async def publish_status(self, status: Literal["online", "offline"]) -> None:
        """Say on the status topic whether the router is there.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        if self._config.status_topic is not None:
            await self.calls.answered(
                "publishing the status",
                self._opened.publish(
                    self._config.status_topic, status, qos=min(1, self.abilities.maximum_qos), retain=self.abilities.retain
                ),
            )

    def tick(self) -> None:
        """What has to be done every now and then: see that the connection stands, and keep it alive when nothing is read."""
        self._reached.notice_failure()
        self._inflow.tick(self._reached.keepalive)

    async def close(self) -> None:
        """Disconnect as the specification wants it: the broker keeps the session and does not publish the last will.

        It reads every acknowledgement before its half of the connection ends, or else takes too long.
        """
        if not self.lost.done():
            with suppress(ConnectFailed):
                await self.publish_status("offline")
        if await self._reached.finish(DISCONNECT):
            self._in_flight.unconfirmed.read_to_the_end()
        self._reached.close("closed")

    @property
    def keepalive(self) -> int:
        """Seconds of silence after which the link is tested."""
        return self._reached.keepalive

    def cut(self, reason: str) -> None:
        """Take in nothing more; `close` ends the connection in good order."""
        self._reached.discard()
        self._ended(reason, None)

    def _abandon(self, context: ClientContext | None) -> None:
        self._reached.close("no connection")
        if context is not None and context.wrapped is not None:
            context.wrapped.close()

    @property
    def _opened(self) -> aiomqtt.Client:
        assert self._client is not None, "connect comes first"
        return self._client

    def _why_not(self, topic_filter: str) -> str | None:
        return self.abilities.why_not(topic_filter)

    def _received(self, data: bytes) -> None:
        self._inflow.received(data)

    def _other_packet(self, command: int, body: bytes) -> bool:
        if command == PUBREL:
            # the message is safe since its PUBREC was sent
            self._redelivery.released(body[:2])
            self._reached.queue(PUBCOMP + body[:2])
            return True
        return self._inflow.answered(command, body)

    def _other_answer(self, command: int, body: bytes) -> bool:
        self.calls.note_unsuback(command, body)
        return self._reached.handle(command, body)

    def _connack(self, session_present: bool, code: ReasonCode, properties: Properties | None) -> None:
        self._answered = True
        if not code.is_failure:
            self.abilities = Abilities.from_connack(properties)
            self.session_present = session_present
            self._redelivery.connected(session_present=session_present)

    def _ended(self, reason: str, code: int | None) -> None:
        self._in_flight.end_connection()
        if not self.lost.done():
            self.lost.set_result((reason, code))

    def _failure(self, error: aiomqtt.MqttError | ValueError) -> ConnectFailed:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode):
            reason = f"the broker refuses the connection: {self._reached.named(code)}{_HINTS.get(code.value, '')}"
            return ConnectFailed(reason, version_refused=code.value == _UNSUPPORTED_VERSION, refused=True)
        if not self.lost.done():
            text = in_words(str(error))
            silent = text in ("Operation timed out", "timed out")
            tls = isinstance(error.__cause__ or error.__context__, ssl.SSLError | ConnectionError) and self._config.address.tls
            return ConnectFailed("the broker does not answer" if silent else text, unanswered=tls)
        reason, code = self.lost.result()
        if code is None and reason == LOST:
            reason = "the broker closed the connection instead of answering; "
            reason += self._config.hint_when_hung_up
        return ConnectFailed(reason, unanswered=not self._answered)
