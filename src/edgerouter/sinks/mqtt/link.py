"""One connection of the MQTT sink, from CONNECT to its end; a new object for every connection.

It reads what the broker sends itself: aiomqtt's own `publish` waits for each message and does not see the reason code of its
acknowledgement, and paho ends the connection for a code that it does not know. docs/decisions/002 says more.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, Self

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.client import LOST, ReachedClient
from edgerouter.mqtt.diagnosis import diagnose
from edgerouter.mqtt.packets import DISCONNECT, FORGET_SESSION, PUBACK, PUBCOMP, PUBREC, PacketReader
from edgerouter.mqtt.reasons import UNSUPPORTED_VERSIONS, connect_refused, disconnected
from edgerouter.mqtt.sockets import in_words
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.publisher import Answer, Error, Publication, Publisher
from edgerouter.sinks.mqtt.session import Session
from edgerouter.tls import TlsConfig, make_context

_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the connection still stands."""
_LARGEST_PACKET: Final = 268_435_455
"""Of the protocol (MQTT 5.0, 1.5.5)."""
_LARGEST_ANSWER: Final = 256 * 1024
"""Bytes of what a broker sends to a client that subscribes to nothing: reason strings and user properties."""
_SESSION_SECONDS: Final = 3600
"""Seconds that a broker keeps the session of a sink with QoS 2, for unfinished handshakes; closing ends it (MQTT 5)."""
_WINDOW_OF_OLD_BROKERS: Final = 20
"""Handshakes of QoS 2 at once that a 3.1.1 broker takes: it cannot say it, and mosquitto hangs up on more."""
_ANSWERS: Final = {PUBACK, PUBREC, PUBCOMP}
_SILENT: Final = logging.getLogger("edgerouter.mqtt.paho")
"""For what the libraries would log: a sink says it with the error that it raises."""
_SILENT.setLevel(logging.CRITICAL)


class VersionRefused(Exception):
    """The broker does not speak this version of MQTT, or hung up on it without a word."""

    def __init__(self, error: Unavailable) -> None:
        super().__init__(str(error))
        self.error = error


class Link:
    """A connection that `connect` has made."""

    def __init__(self, config: MqttSinkConfig, client: aiomqtt.Client, session: Session, *, version5: bool) -> None:
        self.version5 = version5
        self.session_present = False
        self.largest_packet = _LARGEST_PACKET
        self._config = config
        self._client = client
        self._where = str(config.address)
        self._lost: Error | None = None
        self._answered = False
        self._unfit = ""  # what of the configuration the broker has said that it cannot do
        self._reached = ReachedClient(
            client,
            on_bytes=PacketReader(self._received, largest=_LARGEST_ANSWER).feed,
            on_connack=self._connack,
            on_lost=self._ended,
            on_written=self._written,
            timeout=config.connect_timeout,
        )
        self._publisher = Publisher(version5=version5, send=self._reached.send, session=session)

    @classmethod
    async def connect(
        cls, config: MqttSinkConfig, client_id: str, session: Session, *, version5: bool, clean: bool = False
    ) -> Self:
        """Connect. Never cancel it: a connect that is cancelled half-way goes on in its thread and stays up as a ghost.

        Args:
            config: of the sink.
            client_id: the client id.
            session: unfinished handshakes of QoS 2.
            version5: MQTT 5, not 3.1.1.
            clean: begin without the session that the broker may have.

        Raises:
            Unavailable: the broker is not there, or refuses us.
            VersionRefused: it might take the other version.
        """
        address = config.address
        where = str(address)
        try:
            password = await asyncio.to_thread(config.read_password)
            context: ssl.SSLContext | None = None
            if address.tls:
                context = await asyncio.to_thread(make_context, config.tls or TlsConfig())
        except (OSError, ValueError) as error:
            raise Unauthorized(f"{where}: {error}") from None
        keeps_session = config.qos == 2 and not clean
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
        if keeps_session:
            properties.SessionExpiryInterval = _SESSION_SECONDS
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=config.username,
            password=password,
            identifier=client_id,
            logger=_SILENT,
            protocol=aiomqtt.ProtocolVersion.V5 if version5 else aiomqtt.ProtocolVersion.V311,
            clean_session=None if version5 else not keeps_session,
            clean_start=not (keeps_session and session.is_worth_keeping) if version5 else MQTT_CLEAN_START_FIRST_ONLY,
            transport=address.transport,
            timeout=config.connect_timeout,
            keepalive=config.keepalive,
            properties=properties if version5 else None,
            tls_context=context,
            tls_insecure=True if context is not None and not context.check_hostname else None,
            websocket_path=address.path or None,
            websocket_headers=config.read_websocket_headers() or None,
        )
        link = cls(config, client, session, version5=version5)
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            failure = link._failure(error)
            link.cut("not connected")
            if not link._answered and (found := await asyncio.to_thread(diagnose, address)) is not None:
                failure = Unauthorized(f"{where}: {found}")
            raise failure from None
        except BaseException:
            link.cut("not connected")
            raise
        if link._unfit:
            await link.close()
            raise Unauthorized(f"{where} {link._unfit}")
        return link

    @property
    def lost(self) -> Error | None:
        """Why the connection has ended; `None` while it stands."""
        self._reached.notice_failure()
        return self._lost

    async def publish(self, publications: Sequence[Publication], qos: Literal[0, 1, 2]) -> Sequence[Answer | Error]:
        """Publish all and return when each is answered, or the connection is gone. Cut the link if this is cancelled."""
        try:
            pending = self._publisher.publish(publications, qos)
            while not pending.done.done():
                await asyncio.wait((pending.done,), timeout=_LOOK_SECONDS)
                self._reached.notice_failure()
        except BaseException:
            self.cut("given up")  # what waits to be written must not go out later
            raise
        return [answer for answer in pending.answers if answer is not None]

    async def close(self) -> None:
        """Disconnect as the specification wants it; a session of MQTT 5 ends with the connection."""
        if self._lost is None:
            with suppress(OSError):
                await self._reached.finish(FORGET_SESSION if self.version5 and self._config.qos == 2 else DISCONNECT)
        self.cut("closed")

    def cut(self, reason: str) -> None:
        """Give the connection up at once, and everything that is under way."""
        self._end(Unavailable(f"{self._where}: {reason}"))
        self._reached.close(reason)

    def _end(self, error: Error) -> None:
        if self._lost is None:
            self._lost = error
            self._publisher.end(error)

    def _ended(self, reason: str, code: int | None) -> None:
        self._end(disconnected(code, reason, self._where))

    def _written(self) -> None:
        self._publisher.written()

    def _received(self, command: int, body: bytes) -> bool:
        if command & 0xF0 in _ANSWERS:
            self._publisher.received(command, body)
            return self._lost is None
        if command & 0xF0 == 0x30:
            return True  # for nothing of the kind was asked
        return self._reached.handle(command, body)

    def _connack(self, session_present: bool, code: ReasonCode, properties: Properties | None) -> None:
        self._answered = True
        if code.is_failure:
            return
        self.session_present = session_present
        window = self._config.max_inflight
        if self._config.qos == 2 and not self.version5:
            window = min(window, _WINDOW_OF_OLD_BROKERS)
        if properties is not None:
            self.largest_packet = getattr(properties, "MaximumPacketSize", _LARGEST_PACKET)
            window = min(window, getattr(properties, "ReceiveMaximum", 65_535))
            highest = getattr(properties, "MaximumQoS", 2)
            if highest < self._config.qos:
                self._unfit = f"takes messages with QoS {highest} at most; set `qos: {highest}`"
            if not getattr(properties, "RetainAvailable", 1) and self._config.retain != "never":
                self._unfit = "keeps no retained messages; set `retain: never`"
        self._publisher.begin(window, session_present=session_present)

    def _failure(self, error: aiomqtt.MqttError | ValueError) -> Unavailable | VersionRefused:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode):
            refused = connect_refused(code.value, self._reached.named(code), self._where)
            return VersionRefused(refused) if code.value in UNSUPPORTED_VERSIONS else refused
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError) or (isinstance(cause, ssl.SSLError) and not self._answered):
            return Unauthorized(f"{self._where}: TLS: {getattr(cause, 'verify_message', None) or cause.reason}")
        if isinstance(self._lost, Unavailable) and not self._answered:
            if str(self._lost).endswith(LOST):
                return VersionRefused(Unavailable(f"{self._where} hangs up without an answer; {self._config.hint_when_hung_up}"))
            return self._lost
        return Unavailable(f"{self._where} cannot be reached: {in_words(str(error))}")
