"""One connection of the MQTT sink, from CONNECT to its end; a new object for every connection.

It reaches through aiomqtt to the paho client beneath: aiomqtt's own `publish` waits for each message and does not see the reason
code of its acknowledgement, so a message that the broker refused would count as delivered. docs/decisions/002 says more.
"""
# ruff: noqa: SLF001  (this module is the reach)

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.errors import MessageRejected, SinkUnauthorized, SinkUnavailable
from edgerouter.mqtt_socket import has_failed, in_words
from edgerouter.sinks.mqtt_config import MqttSinkConfig
from edgerouter.sinks.mqtt_reasons import UNSUPPORTED_VERSIONS, connect_refused, disconnected
from edgerouter.tls import TlsConfig, make_context

_IN_ONE_GO: Final = 50
"""Messages that are published before others may run."""
_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the connection still stands."""
_LARGEST_PACKET: Final = 268_435_455
"""Of the protocol (MQTT 5.0, 1.5.5)."""
_SILENT: Final = logging.getLogger("edgerouter.mqtt.paho")
"""For what the libraries would log: a sink says it with the error that it raises."""
_SILENT.setLevel(logging.CRITICAL)

Error = SinkUnavailable | MessageRejected


@dataclass(frozen=True, slots=True)
class Publication:
    """One message, ready to be published."""

    topic: str
    payload: bytes
    retain: bool
    properties: Properties | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said to one publication."""

    code: int
    text: str


class VersionRefused(Exception):
    """The broker does not speak this version of MQTT, or hung up on it without a word."""

    def __init__(self, error: SinkUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


class _Pending:
    """One call of `publish`, and what is known of its messages."""

    def __init__(self, size: int) -> None:
        self.answers: list[Answer | Error | None] = [None] * size
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, answer: Answer | Error) -> None:
        if self.answers[index] is None:
            self.answers[index] = answer
            self.left -= 1
            if self.left == 0 and not self.done.done():
                self.done.set_result(None)

    def fail(self, error: Error) -> None:
        for index, answer in enumerate(self.answers):
            if answer is None:
                self.settle(index, error)


class Link:
    """A connection that `connect` has made."""

    def __init__(self, config: MqttSinkConfig, client: aiomqtt.Client, where: str, *, version5: bool) -> None:
        self.version5 = version5
        self.largest_packet = _LARGEST_PACKET
        self._config = config
        self._client = client
        self._where = where
        self._paho = client._client
        self._paho.connect_timeout = config.connect_timeout
        self._pending: dict[int, tuple[_Pending, int]] = {}
        self._early: dict[int, Answer] = {}
        self._lost: Error | None = None
        self._closing = False
        self._answered = False
        self._unfit = ""  # what of the configuration the broker has said that it cannot do
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._connected = self._paho.on_connect
        self._disconnected = self._paho.on_disconnect
        self._paho.on_connect = self._connack
        self._paho.on_disconnect = self._disconnect
        self._paho.on_publish = self._puback
        # aiomqtt's own register the number of a file that may be closed, and another's, when their turn comes
        self._paho.on_socket_register_write = self._wants_to_write
        self._paho.on_socket_unregister_write = self._has_written

    @classmethod
    async def connect(cls, config: MqttSinkConfig, client_id: str, *, version5: bool) -> Link:
        """Connect. Never cancel it: a connect that is cancelled half-way goes on in its thread and stays up as a ghost.

        Raises:
            SinkUnavailable: the broker is not there, or refuses us.
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
            raise SinkUnauthorized(f"{where}: {error}") from None
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=config.username,
            password=password,
            identifier=client_id,
            logger=_SILENT,
            protocol=aiomqtt.ProtocolVersion.V5 if version5 else aiomqtt.ProtocolVersion.V311,
            clean_session=None if version5 else True,
            clean_start=True if version5 else MQTT_CLEAN_START_FIRST_ONLY,
            transport=address.transport,
            timeout=config.connect_timeout,
            keepalive=config.keepalive,
            max_inflight_messages=config.max_inflight,
            tls_context=context,
            tls_insecure=True if context is not None and not context.check_hostname else None,
            websocket_path=address.path or None,
            websocket_headers=dict(config.websocket_headers) or None,
        )
        link = cls(config, client, where, version5=version5)
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            link._drop()
            raise link._failure(error) from None
        if link._unfit:
            await link.close()
            raise SinkUnauthorized(f"{where} {link._unfit}")
        return link

    @property
    def lost(self) -> Error | None:
        """Why the connection has ended; `None` while it stands."""
        self._notice_failure()
        return self._lost

    async def publish(self, publications: Sequence[Publication], qos: Literal[0, 1]) -> Sequence[Answer | Error]:
        """Publish all and return when each is answered, or the connection is gone. Cut the link if this is cancelled."""
        pending = _Pending(len(publications))
        try:
            for index, each in enumerate(publications):
                if index % _IN_ONE_GO == _IN_ONE_GO - 1:
                    await asyncio.sleep(0)
                if self._lost is not None:
                    pending.fail(self._lost)
                    break
                info = self._paho.publish(each.topic, each.payload, qos, each.retain, each.properties)
                if (early := self._early.pop(info.mid, None)) is not None:
                    pending.settle(index, early)
                elif info.rc != 0 or self._lost is not None:
                    pending.settle(index, self._lost or SinkUnavailable(f"{self._where}: the connection was lost"))
                else:
                    self._pending[info.mid] = (pending, index)
            while not pending.done.done():
                await asyncio.wait((pending.done,), timeout=_LOOK_SECONDS)
                self._notice_failure()
        except BaseException:
            self.cut("given up")  # what paho still holds of these messages must not go out later
            raise
        return [answer for answer in pending.answers if answer is not None]

    async def close(self) -> None:
        """Disconnect as the specification wants it."""
        self._closing = True
        if self._lost is None:
            with suppress(aiomqtt.MqttError):  # the broker is gone: so is the connection
                await self._client.__aexit__(None, None, None)
        self.cut("closed")

    def cut(self, reason: str) -> None:
        """Give the connection up at once, and everything that is under way."""
        self._end(SinkUnavailable(f"{self._where}: {reason}"))
        self._drop()

    def _notice_failure(self) -> None:
        """See `has_failed`: without this a write would wait for answers until its time is up."""
        if self._lost is not None:
            return
        ended = self._client._disconnected
        if ended.done() and not ended.cancelled() and ended.exception() is not None:
            # paho has met bytes that it cannot read, and would not get beyond them
            self.cut("does not speak MQTT as it should")
        elif (socket := self._paho._sock) is not None and has_failed(socket.fileno()):
            self.cut("the connection was lost")

    def _wants_to_write(self, _: Any, __: Any, sock: Any) -> None:
        if threading.get_ident() == self._thread:
            self._add_writer(sock)
        else:
            self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, sock: Any) -> None:
        fileno: int = sock.fileno()
        if self._lost is not None or sock is not self._paho._sock:
            return
        try:
            self._loop.add_writer(fileno, self._paho.loop_write)
        except (RuntimeError, OSError):
            # uvloop has given up on a socket that failed; not now, as paho may be in the middle of queueing a packet
            self._loop.call_soon(self.cut, "the connection was lost")

    def _has_written(self, _: Any, __: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock.fileno())

    def _drop(self) -> None:
        self._paho._sock_close()
        self._seen()

    def _seen(self) -> None:
        for future in (self._client._connected, self._client._disconnected):
            if future.done() and not future.cancelled():
                future.exception()  # nobody else asks for it

    def _end(self, error: Error) -> None:
        if self._lost is not None:
            return
        self._lost = error
        under_way = {id(pending): pending for pending, _ in self._pending.values()}
        self._pending.clear()
        for pending in under_way.values():
            pending.fail(error)

    def _connack(self, client: Any, userdata: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None) -> None:
        self._answered = True
        if properties is not None:
            self.largest_packet = getattr(properties, "MaximumPacketSize", _LARGEST_PACKET)
            # paho keeps to a window, but to none that the broker asks for
            window = min(self._config.max_inflight, getattr(properties, "ReceiveMaximum", 65_535))
            self._paho._max_inflight_messages = window
            if getattr(properties, "MaximumQoS", 1) < self._config.qos:
                self._unfit = "confirms no messages; set `qos: 0`"
            if not getattr(properties, "RetainAvailable", 1) and self._config.retain != "never":
                self._unfit = "keeps no retained messages; set `retain: never`"
        if self._connected is not None:
            self._connected(client, userdata, flags, code, properties)  # type: ignore[arg-type,call-arg]  # callback version 2

    def _disconnect(
        self, client: Any, userdata: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(disconnected(code.value, str(code), self._where))
        else:
            self._end(disconnected(None, "closed" if self._closing else "the connection was lost", self._where))
        if self._disconnected is not None:
            self._disconnected(client, userdata, flags, code, properties)  # type: ignore[arg-type,call-arg]  # callback version 2
        self._seen()
        if not self._client._connected.done():
            # without this aiomqtt waits out its time for an answer that cannot come
            self._client._connected.set_exception(aiomqtt.MqttError("the connection was lost"))
        if not self._closing:
            asyncio.get_running_loop().call_soon(self._drop)  # paho is still busy with what it has read

    def _puback(self, _client: Any, _userdata: Any, mid: int, code: ReasonCode, _properties: Properties | None) -> None:
        answer = Answer(code.value, str(code))
        entry = self._pending.pop(mid, None)
        if entry is None:
            self._early[mid] = answer  # of quality of service 0: sent before `publish` has told its number
        else:
            pending, index = entry
            pending.settle(index, answer)

    def _failure(self, error: aiomqtt.MqttError | ValueError) -> SinkUnavailable | VersionRefused:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode):
            refused = connect_refused(code.value, str(code), self._where)
            return VersionRefused(refused) if code.value in UNSUPPORTED_VERSIONS else refused
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError) or (isinstance(cause, ssl.SSLError) and not self._answered):
            return SinkUnauthorized(f"{self._where}: TLS: {getattr(cause, 'verify_message', None) or cause.reason}")
        if isinstance(self._lost, SinkUnavailable) and not self._answered:
            return VersionRefused(SinkUnavailable(f"{self._where} hangs up without an answer; {self._config.hint_when_hung_up}"))
        return SinkUnavailable(f"{self._where} cannot be reached: {in_words(str(error))}")
