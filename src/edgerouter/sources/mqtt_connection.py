"""One connection to a broker, from CONNECT to its end; a new object for every connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from itertools import zip_longest
from typing import Any, Final, Literal, TypeVar

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.mqtt_socket import in_words
from edgerouter.sources.mqtt_admission import Gate
from edgerouter.sources.mqtt_closing import DISCONNECT
from edgerouter.sources.mqtt_config import MqttSourceConfig
from edgerouter.sources.mqtt_intake import PUBCOMP, Batch, Intake
from edgerouter.sources.mqtt_limits import PacketLimits
from edgerouter.sources.mqtt_options import connect_properties, last_will, read_password, subscribe_options
from edgerouter.sources.mqtt_paho import LOST, ReachedClient
from edgerouter.sources.mqtt_redelivery import Redelivery
from edgerouter.sources.mqtt_stream import PublishStream
from edgerouter.tls import ClientContext, TlsConfig, make_context

Protocol = Literal["5", "3.1.1"]
Answer = TypeVar("Answer")

TAKEN_OVER: Final = 142
"""Reason code of a DISCONNECT: another client connected with the same client id (MQTT 5.0, 3.14.2.1)."""
_UNSUPPORTED_VERSION: Final = 132
_REFUSED_FILTER: Final = 128
_FILTERS_A_PACKET: Final = 8
"""AWS IoT Core refuses a SUBSCRIBE with more."""
_PUBREL: Final = 0x62
_HARD_LIMIT: Final = 2
"""Where reading goes on beyond the bounds only to keep the connection alive, it takes in at most this many times the bounds."""
_SILENT: Final = logging.getLogger("edgerouter.mqtt.paho")
"""For what paho would log: each end of a connection, which the source says itself, with its reason."""
_SILENT.setLevel(logging.CRITICAL)


class ConnectFailed(Exception):
    """There is no connection.

    Args:
        reason: for the operator; holds no secret.
        version_refused: the broker said that it does not speak this version of MQTT.
        unanswered: the broker closed the connection instead of answering, as some do that do not know the version.
    """

    def __init__(self, reason: str, *, version_refused: bool = False, unanswered: bool = False) -> None:
        super().__init__(reason)
        self.version_refused = version_refused
        self.unanswered = unanswered


class Connection:
    """A connection that `connect` has made.

    Args:
        config: the source's configuration.
        client_id: the client id.
        protocol: the version of MQTT.
        intake: where messages go.
        redelivery: told about the session.
        gate: asked about publishes that may have been here before.
        limits: of a publish.
        hurry: called when the broker waits for acknowledgements.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client_id: str,
        protocol: Protocol,
        *,
        intake: Intake,
        redelivery: Redelivery,
        gate: Gate,
        limits: PacketLimits,
        hurry: Callable[[], None],
    ) -> None:
        self.lost: asyncio.Future[tuple[str, int | None]] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended: the reason, and the broker's reason code where it gave one."""
        self.session_present = False
        self.version5 = protocol == "5"
        self._config = config
        self._client_id = client_id
        self._intake = intake
        self._redelivery = redelivery
        self._gate = gate
        self._limits = limits
        self._hurry = hurry
        self._hurried: Batch | None = None
        self._window = min(config.receive_maximum, config.max_unacknowledged) if self.version5 else config.broker_window
        self._answered = False
        self._paused = False
        self._dosing = False
        self._client: aiomqtt.Client | None = None

    async def connect(self) -> None:
        """Connect and keep receiving into the intake.

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
            self._intake, version5=self.version5, admission=self._gate, other_packet=self._other_packet, limits=self._limits
        )
        self._intake.begin_connection(send=self._reached.send, queue=self._reached.queue, has_room=self._has_room)
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            failure = self._failure(error)
            self._abandon(context)
            raise failure from None
        except BaseException:
            self._abandon(context)
            raise

    async def subscribe(self, filters: Mapping[str, int]) -> dict[str, str]:
        """Subscribe, and return the filters that the broker refused with its reason.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        config = self._config
        refused: dict[str, str] = {}
        for part in _parts(filters):
            if self.version5:
                call = self._opened.subscribe([(each, subscribe_options(config, filters[each])) for each in part])
            else:
                call = self._opened.subscribe([(each, filters[each]) for each in part])
            codes = await self._answered_call("subscribing", call)
            for each, code in zip_longest(part, codes[: len(part)]):
                if code is None:
                    refused[each] = "the broker answered without a word about it"
                elif _number(code) >= _REFUSED_FILTER:
                    refused[each] = str(code)
        return refused

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        """Take filters out of the session.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        for part in _parts(filters):
            await self._answered_call("unsubscribing", self._opened.unsubscribe(part))

    async def publish_status(self, status: Literal["online", "offline"]) -> None:
        """Say on the status topic whether the router is there.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        if self._config.status_topic is not None:
            await self._answered_call(
                "publishing the status", self._opened.publish(self._config.status_topic, status, qos=1, retain=True)
            )

    def tick(self) -> None:
        """What has to be done every now and then: see that the connection stands, and keep it alive when nothing is read."""
        self._reached.notice_failure()
        waiting_since = self._reached.awaits_answer_since
        if self._paused and waiting_since and time.monotonic() - waiting_since > self._config.keepalive / 4:
            self._dosing = True
            try:
                self._reached.read_a_dose()
            finally:
                self._dosing = False

    async def close(self) -> None:
        """Disconnect as the specification wants it: the broker keeps the session and does not publish the last will.

        It reads every acknowledgement before its half of the connection ends, or else takes too long.
        """
        if not self.lost.done():
            with suppress(ConnectFailed):
                await self.publish_status("offline")
        await self._reached.finish(DISCONNECT)
        self._reached.close("closed")

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

    async def _answered_call(self, what: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        """What the broker answers; fails as soon as the connection is lost, where aiomqtt would wait out its time."""
        task = asyncio.ensure_future(call)
        await asyncio.wait((task, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
            raise ConnectFailed(f"{what} failed: {self.lost.result()[0]}")
        try:
            return task.result()
        except (aiomqtt.MqttError, ValueError) as error:
            raise ConnectFailed(f"{what} failed: {error}") from None

    def _received(self, data: bytes) -> None:
        intake = self._intake
        self._stream.feed(data, beyond=_HARD_LIMIT if self._dosing else 1)
        if intake.unacknowledged >= self._window and intake.current is not self._hurried:
            self._hurried = intake.current
            self._hurry()
        if intake.is_full and not self._paused and not self.lost.done():
            self._paused = True
            self._reached.pause()

    def _has_room(self) -> None:
        if self._paused and self._intake.has_half_of_its_room:
            self._paused = False
            if self._stream.skipped:
                # what was passed over comes again only on a new connection
                self.cut("the broker sent more than it should; connecting again for what was left out")
                return
            self._reached.resume()
            if self._stream.holds_packets:
                asyncio.get_running_loop().call_soon(self._reached.go_on)

    def _other_packet(self, command: int, body: bytes) -> bool:
        if command == _PUBREL:
            # the message is safe since its PUBREC was sent
            self._redelivery.released(body[:2])
            self._reached.queue(PUBCOMP + body[:2])
            return True
        return self._reached.handle(command, body)

    def _connack(self, session_present: bool, code: ReasonCode, _: Properties | None) -> None:
        self._answered = True
        if not code.is_failure:
            self.session_present = session_present
            self._redelivery.connected(session_present=session_present)

    def _ended(self, reason: str, code: int | None) -> None:
        self._intake.end_connection()
        if not self.lost.done():
            self.lost.set_result((reason, code))

    def _failure(self, error: aiomqtt.MqttError | ValueError) -> ConnectFailed:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode):
            return ConnectFailed(f"the broker refuses the connection: {code}", version_refused=code.value == _UNSUPPORTED_VERSION)
        if not self.lost.done():
            text = in_words(str(error))
            return ConnectFailed("the broker does not answer" if text in ("Operation timed out", "timed out") else text)
        reason, code = self.lost.result()
        if code is None and reason == LOST:
            reason = "the broker closed the connection instead of answering; "
            reason += self._config.hint_when_hung_up
        return ConnectFailed(reason, unanswered=not self._answered)


def _number(code: Any) -> int:
    return int(code.value if isinstance(code, ReasonCode) else code)


def _parts(filters: Iterable[str]) -> Iterable[list[str]]:
    every = list(filters)
    return (every[at : at + _FILTERS_A_PACKET] for at in range(0, len(every), _FILTERS_A_PACKET))
