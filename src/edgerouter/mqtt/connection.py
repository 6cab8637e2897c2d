"""One connection to a broker, from CONNECT to its end; a new object for every connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, Self

import aiomqtt
import msgspec
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.abilities import Abilities
from edgerouter.mqtt.calls import Calls, ConnectFailed
from edgerouter.mqtt.client import Client
from edgerouter.mqtt.diagnosis import diagnose
from edgerouter.mqtt.last_will import Will
from edgerouter.mqtt.login import Login, MakeLogin
from edgerouter.mqtt.packets import PUBCOMP, PUBREL, MalformedPacket
from edgerouter.mqtt.proxy import ProxyRefused
from edgerouter.mqtt.reasons import LOST, UNSUPPORTED_VERSION, connect_refused, disconnected
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.mqtt.sockets import as_text
from edgerouter.mqtt.upgrade import Upgrade, UpgradeRefused
from edgerouter.tls import ClientContext, TlsConfig, make_context

_SILENT: Final = logging.getLogger("edgerouter.mqtt.paho")
"""For what the libraries would log: each end of a connection, which its owner logs or raises with its reason."""
_SILENT.setLevel(logging.CRITICAL)
_MOST_UNSENT: Final = 1024**2
"""Bytes of answers that may wait for the broker to read; those for all packet ids are a quarter."""
_PINGREQ: Final = 0xC0
_PINGRESP: Final = b"\xd0\x00"


class Credentials(msgspec.Struct, frozen=True):
    """Secrets of one connection, read just before it is made."""

    login: Login
    context: ClientContext | None

    @classmethod
    async def read(cls, settings: BrokerSettings, make_login: MakeLogin | None = None) -> Self:
        """Read the password and the certificates as they are now.

        Args:
            settings: name the password and the certificates.
            make_login: makes a login instead.

        Raises:
            ConnectFailed: a file cannot be used, or there is no login.
        """
        try:
            if make_login is None:
                login = Login(settings.username, await asyncio.to_thread(settings.read_password))
            else:
                async with asyncio.timeout(settings.connect_timeout):
                    login = await make_login()
            tls = settings.address.tls
            return cls(login, await asyncio.to_thread(make_context, settings.tls or TlsConfig()) if tls else None)
        except TimeoutError:
            raise ConnectFailed(f"no credentials for {settings.address} within {settings.connect_timeout:g} s") from None
        except Unavailable as error:
            raise ConnectFailed(str(error), error) from error
        except (OSError, ValueError) as error:
            raise ConnectFailed(str(error), Unauthorized(f"{settings.address}: {error}")) from None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a CONNECT beside the settings."""

    client_id: str
    version5: bool
    """MQTT 5, not 3.1.1."""
    clean: bool
    """Begin without the session that the broker may have; a 3.1.1 broker keeps none afterwards either."""
    session_expiry: int | None = None
    """Seconds that the broker keeps the session after the connection has ended (MQTT 5)."""
    receive_maximum: int | None = None
    maximum_packet_size: int | None = None
    will: Will | None = None

    def properties(self) -> Properties | None:
        """Return the properties of MQTT 5."""
        if not self.version5:
            return None
        found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
        for name, value in (
            ("SessionExpiryInterval", self.session_expiry),
            ("ReceiveMaximum", self.receive_maximum),
            ("MaximumPacketSize", self.maximum_packet_size),
        ):
            if value is not None:
                setattr(found, name, value)
        return found


class Listener(Protocol):
    """Owner of a connection, called from the event loop."""

    def received(self, data: bytes) -> None:
        """Take what was read.

        Raises:
            MalformedPacket: this is not MQTT; the connection cannot be used any more.
        """

    def accepted(self) -> None:
        """Note that the broker has let us in; no publish of this connection has come yet."""

    def ended(self) -> None:
        """Note the end of the connection, once."""

    def written(self) -> None:
        """Note that the socket has taken everything that was sent."""

    def keep_alive_sent(self) -> None:
        """Note a PINGREQ that was not ours."""


class Connection:
    """A connection that `connect` makes.

    Args:
        settings: how to reach the broker.
        options: contents of the CONNECT.
        credentials: of this connection.
        listener: gets what happens on it.
    """

    def __init__(self, settings: BrokerSettings, options: Options, credentials: Credentials, listener: Listener) -> None:
        self.lost: asyncio.Future[tuple[str, int | None]] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended: the reason, and the broker's reason code where it gave one."""
        self.session_present = False
        self.version5 = options.version5
        self.abilities = Abilities()
        self._settings = settings
        self._where = str(settings.address)
        self._context = credentials.context
        self._listener = listener
        self._answered = False
        self._unsent = 0
        """Bytes of answers since the socket has last taken everything."""
        self._aiomqtt = _make_client(settings, options, credentials)
        self.client = Client(
            self._aiomqtt,
            on_bytes=listener.received,
            on_connack=self._connack,
            on_lost=self._ended,
            on_written=self._written,
            on_keep_alive=listener.keep_alive_sent,
            dial=_dialling(settings),
            upgrade=Upgrade.of(settings, credentials.login),
        )
        self.calls = Calls(self._aiomqtt, self.lost, version5=options.version5)

    async def connect(self) -> None:
        """Connect, and read until the connection is lost.

        Never cancel it: a connect that is cancelled half-way continues in its thread and stays up as a ghost with our client id.

        Raises:
            ConnectFailed: the broker is not there, or refuses us.
        """
        try:
            await self._aiomqtt.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            failure = self._failure(error)
            self._abandon()
            if not self._answered and self.client.tcp is not None and self._settings.proxy is None:
                found = await asyncio.to_thread(diagnose, self._settings.address)
                if found is not None:
                    failure = ConnectFailed(found, Unauthorized(f"{self._where}: {found}"))
            raise failure from None
        except BaseException:
            self._abandon()
            raise

    def handle(self, command: int, body: bytes) -> bool:
        """Handle a packet that is of no interest to the owner. Returns true while the connection stands."""
        if command in (_PINGREQ, PUBREL):
            # not by paho, whose answers have no bound; a session may hold a PUBREL from when it received with QoS 2
            self.answer(_PINGRESP if command == _PINGREQ else bytes((PUBCOMP, 2)) + body[:2])
            return True
        self.calls.note_unsuback(command, body)
        return self.client.handle(command, body)

    def answer(self, packets: bytes) -> None:
        """Answer packets of the broker while they are parsed.

        Raises:
            MalformedPacket: the broker causes answers without end and reads none.
        """
        self._unsent += len(packets)
        self.client.send(packets)
        if self._unsent > _MOST_UNSENT:
            raise MalformedPacket("it wants answers without end and does not read them")

    def cut(self, reason: str) -> None:
        """Ignore what is read from now on; the connection stays for a last word."""
        self.client.reading.discard()
        self._ended(reason, None)

    def _abandon(self) -> None:
        self.client.close("not connected")
        # the MQTT client loses a socket whose handshake failed, without closing it
        if self._context is not None and self._context.wrapped is not None:
            self._context.wrapped.close()

    def _written(self) -> None:
        self._unsent = 0
        self._listener.written()

    def _connack(self, session_present: bool, code: ReasonCode, properties: Properties | None) -> None:
        self._answered = True
        if not code.is_failure:
            self.abilities = Abilities.from_connack(properties)
            self.session_present = session_present
            self._listener.accepted()

    def _ended(self, reason: str, code: int | None) -> None:
        if not self.lost.done():
            self.lost.set_result((reason, code))
            self._listener.ended()

    def _failure(self, error: aiomqtt.MqttError | ValueError) -> ConnectFailed:
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if isinstance(code, ReasonCode):
            name = self.client.named(code)
            return ConnectFailed(
                f"the broker refuses the connection: {name}",
                connect_refused(code.value, name, self._where),
                code=code.value,
                version_refused=code.value == UNSUPPORTED_VERSION,
            )
        if self.lost.done():
            return self._failure_of(*self.lost.result())
        text = as_text(str(error))
        if text in ("Operation timed out", "timed out"):
            text = "the broker does not answer"
        cause = error.__cause__ or error.__context__
        if isinstance(cause, UpgradeRefused) and cause.lasting:
            text += "; are the path and the credentials right, and the device's clock?"
            return ConnectFailed(text, Unauthorized(f"{self._where}: {text}"))
        if isinstance(cause, ssl.SSLError | ProxyRefused):
            return ConnectFailed(text, Unauthorized(f"{self._where}: {text}"))
        return ConnectFailed(text, Unavailable(f"{self._where} cannot be reached: {text}"))

    def _failure_of(self, reason: str, code: int | None) -> ConnectFailed:
        """Name a failure after the end of the connection."""
        if code is None and reason == LOST:
            hint = self._settings.hint_when_hung_up
            return ConnectFailed(
                f"the broker closed the connection instead of answering; {hint}",
                Unavailable(f"{self._where} hangs up without an answer; {hint}"),
                unanswered=not self._answered,
            )
        error = disconnected(code, reason, self._where)
        unavailable = error if isinstance(error, Unavailable) else Unavailable(f"{self._where} cannot be reached: {reason}")
        return ConnectFailed(reason, unavailable, unanswered=not self._answered)


def _dialling(settings: BrokerSettings) -> Callable[[], socket.socket] | None:
    proxy = settings.read_proxy()
    if proxy is None:
        return None
    address = settings.address
    return partial(proxy.dial, address.host, address.port, settings.connect_timeout)


def _make_client(settings: BrokerSettings, options: Options, credentials: Credentials) -> aiomqtt.Client:
    address, context, login, will = settings.address, credentials.context, credentials.login, options.will
    return aiomqtt.Client(
        address.host,
        address.port,
        username=login.username,
        password=login.password,
        identifier=options.client_id,
        logger=_SILENT,
        protocol=aiomqtt.ProtocolVersion.V5 if options.version5 else aiomqtt.ProtocolVersion.V311,
        will=aiomqtt.Will(will.topic, will.payload, qos=will.qos, retain=will.retain) if will is not None else None,
        clean_session=None if options.version5 else options.clean,
        clean_start=options.clean if options.version5 else MQTT_CLEAN_START_FIRST_ONLY,
        timeout=settings.connect_timeout,
        keepalive=settings.keepalive,
        properties=options.properties(),
        tls_context=context,
        tls_insecure=True if context is not None and not context.check_hostname else None,
    )
