"""The reach into paho, the MQTT client beneath aiomqtt: reading, answering and closing without its cost per message.

Everything of paho and aiomqtt that is not public is used here, and listed in the test of this module;
docs/decisions/002 says why. paho keeps what it is good at: connecting, subscribing, and keep-alives.
"""
# ruff: noqa: SLF001  (this module is the reach)

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiomqtt
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.mqtt.closing import AT_MOST, read_to_the_end
from edgerouter.mqtt.codes import as_paho_reads, with_known_codes
from edgerouter.mqtt.packets import MalformedPacket
from edgerouter.mqtt.reading import Reading
from edgerouter.mqtt.reasons import LOST, why_ended
from edgerouter.mqtt.sockets import acknowledge_now, has_failed, hold_nothing_back
from edgerouter.mqtt.upgrade import Upgrade
from edgerouter.tasks.beat import until_beat

PATIENCE = 3.0
"""Seconds that an answer may take however short the keep-alive is: a flood of messages may be before it."""


class Client:
    """A client whose socket we read.

    Args:
        client: made, not connected; each step of connecting (TCP, TLS, WebSocket) may take its `timeout`.
        on_bytes: gets what was read; raises MalformedPacket when the connection cannot be used any more.
        on_connack: gets the broker's answer before any publish of this connection.
        on_lost: called once, with the reason, and the reason code where the broker gave one.
        on_written: called when the socket has taken everything that was sent.
        on_keep_alive: called when paho sends a PINGREQ.
        dial: makes the TCP connection, in a thread, in place of paho.
        upgrade: opens a WebSocket on the connection, in a thread.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        *,
        on_bytes: Callable[[bytes], None],
        on_connack: Callable[[bool, ReasonCode, Properties | None], None],
        on_lost: Callable[[str, int | None], None],
        on_written: Callable[[], None],
        on_keep_alive: Callable[[], None],
        dial: Callable[[], socket.socket] | None = None,
        upgrade: Upgrade | None = None,
    ) -> None:
        self._client, self._paho = client, client._client
        self._paho.connect_timeout = client.timeout
        self._on_connack, self._on_lost = on_connack, on_lost
        self._on_written, self._on_keep_alive = on_written, on_keep_alive
        self._loop = asyncio.get_running_loop()
        self.reading = Reading(self, on_bytes)
        self._thread = threading.get_ident()
        self._writing = self.reads_whole = self._lost = False
        self._fileno = -1
        self._written = asyncio.Event()
        self._reason: str | None = None
        self._unknown_code: int | None = None
        self.tcp: socket.socket | None = None
        """Set once the other side has taken the TCP connection."""
        self.hung_up = False
        """The broker has closed the connection, not the network."""
        self._create_tcp = dial or self._paho._create_socket_connection
        self._paho._create_socket_connection = self._connect_tcp  # type: ignore[method-assign]  # this is the reach
        if upgrade is not None:
            self._paho._create_socket = partial(upgrade.after, self._paho._create_socket)  # type: ignore[method-assign]
        self._send_ping = self._paho._send_pingreq
        self._paho._send_pingreq = self._keep_alive  # type: ignore[method-assign]  # this is the reach
        self._client._misc_loop = self._tend  # type: ignore[method-assign]  # this is the reach
        # aiomqtt has set all three
        self._open_socket: Any = self._paho.on_socket_open
        self._connected: Any = self._paho.on_connect
        self._disconnected: Any = self._paho.on_disconnect
        self._paho.on_socket_open = self._socket_opened
        # aiomqtt's own register the number of a file that may be closed, and another's, when their turn comes
        self._paho.on_socket_register_write = self._wants_to_write
        self._paho.on_socket_unregister_write = self._has_written
        self._paho.on_connect = self._connack
        self._paho.on_disconnect = self._disconnect

    @property
    def awaits_answer_since(self) -> float:
        """Monotonic time of the keep-alive that the broker has not answered yet; 0 if none is open."""
        return float(self._paho._ping_t)

    @property
    def keepalive(self) -> int:
        """Seconds of silence after which the link is tested: the broker's wish, where it has one."""
        return int(self._paho._keepalive)

    @property
    def is_open(self) -> bool:
        """There is a socket."""
        return self._paho._sock is not None

    def receive(self, size: int) -> bytes | None:
        paho = self._paho
        try:
            data = paho._sock_recv(size)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        else:
            self.hung_up = not data
        if not data:
            self._reason = getattr(paho._sock, "farewell", None)
            paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            return None
        with paho._msgtime_mutex:
            paho._last_bytes_received = time.monotonic()
        return data

    def holds_more(self) -> bool:
        sock: Any = self._paho._sock
        return sock is not None and sock.pending() > 0

    def watch(self) -> None:
        self._watch(self._loop.add_reader, self._fileno, self.reading.readable)

    def unwatch(self) -> None:
        if self._fileno >= 0:
            self._loop.remove_reader(self._fileno)

    def fail(self, malformed: str) -> None:
        self._reason = malformed
        self._paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)

    def notice_failure(self) -> None:
        """End the connection if it has failed without a sign from the event loop, after what still came is read."""
        if self.is_open and has_failed(self._fileno):
            self.reading.read_rest()
            if self.is_open:
                self.close(LOST)

    def handle(self, command: int, body: bytes) -> bool:
        """Let paho handle a packet. Returns true while the connection stands."""
        paho = self._paho
        body, unknown = with_known_codes(command, body, version5=paho._protocol == MQTTProtocolVersion.MQTTv5)
        if unknown is not None:
            self._unknown_code = unknown
        paho._in_packet = as_paho_reads(command, body)
        try:
            code = paho._packet_handle()
        except Exception as error:  # paho raises many kinds for a packet that is wrong
            raise MalformedPacket(f"packet 0x{command:02x} is malformed") from error
        if code > 0:
            paho._loop_rc_handle(code)
        return paho._sock is not None and not self._lost

    async def _tend(self) -> None:
        """Let paho test the link now and then, at the router's beat: a broker waits for 1.5 times the keep-alive."""
        while time.monotonic() < self.awaits_answer_since + PATIENCE or self._paho.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:  # noqa: ASYNC110
            await asyncio.sleep(until_beat(min(1.0, (self.keepalive or 4) / 4)))

    def queue(self, packets: bytes) -> None:
        """Send packets in one piece, when the event loop turns; safe while a packet is handled."""
        if self.is_open:
            self._paho._packet_queue(0, packets, 0, 0)

    def send(self, packets: bytes) -> None:
        """Send packets that need no answer, all in one piece, at once as far as the socket takes them."""
        paho, sock = self._paho, self._paho._sock
        if sock is None:
            return
        if self.reads_whole and not paho.want_write():
            # a plain socket with nothing before these: paho's queue would cost more than the system call
            with suppress(OSError):  # paho's own attempt finds out
                packets = packets[sock.send(packets) :]
        if not packets:
            self._on_written()
            return
        self._writing = True
        try:
            paho._packet_queue(0, packets, 0, 0)
            paho.loop_write()
        finally:
            self._writing = False
        if self.is_open and paho.want_write():
            self._add_writer(sock)

    def hasten(self) -> None:
        """Have TCP acknowledge what has been read: more is awaited, and nothing is sent that would carry the acknowledgement."""
        acknowledge_now(self._paho._sock)

    async def finish(self, packets: bytes) -> bool:
        """Send these last packets and close by half.

        Returns:
            true if the broker is known to have read all that was sent; it may have been slow, or the connection was lost.
        """
        if not self.is_open:
            return False
        self.reading.discard()
        self.reading.resume()
        self._written.clear()
        # not as the DISCONNECT that it is: paho would close the socket
        self.queue(packets)
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_MOST):
                await self._written.wait()
        if not self._written.is_set() or not self.is_open:
            return False
        connection = socket.socket(fileno=os.dup(self._fileno))
        self.close("closed")
        return await read_to_the_end(connection)

    def close(self, reason: str) -> None:
        """Close the socket at once, as if the connection were lost. The broker publishes the last will."""
        self._paho._sock_close()
        if self.tcp is not None:
            self.tcp.close()  # paho forgets it when a handshake above it fails
        self._ended(reason, None)

    def _keep_alive(self) -> MQTTErrorCode:
        self._on_keep_alive()
        return self._send_ping()

    def named(self, code: object) -> str:
        """Return a reason code's name, with the number where the broker's is unknown."""
        return str(code) if self._unknown_code is None else f"{code} (reason code 0x{self._unknown_code:02X})"

    def _connect_tcp(self) -> socket.socket:
        self.tcp = self._create_tcp()
        hold_nothing_back(self.tcp)
        return self.tcp

    def _socket_opened(self, client: Any, userdata: Any, sock: Any) -> None:
        # runs in the thread that connects; what aiomqtt schedules first is replaced by ours before the loop turns
        self._open_socket(client, userdata, sock)
        self._fileno = sock.fileno()
        self.reads_whole = not hasattr(sock, "pending")
        self._loop.call_soon_threadsafe(self.watch)

    def _wants_to_write(self, _: Any, __: Any, sock: Any) -> None:
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._add_writer, sock)
        elif not self._writing:
            self._add_writer(sock)

    def _add_writer(self, sock: Any) -> None:
        fileno: int = sock.fileno()
        if sock is self._paho._sock and not self._lost:
            self._watch(self._loop.add_writer, fileno, self._paho.loop_write)

    def _watch(self, add: Callable[[int, Callable[[], object]], None], fileno: int, callback: Callable[[], object]) -> None:
        try:
            add(fileno, callback)
        except (RuntimeError, OSError):
            # uvloop has given up on a socket that failed; not now, as paho may be in the middle of queueing a packet
            self._loop.call_soon(self.close, LOST)

    def _has_written(self, _: Any, __: Any, sock: Any) -> None:
        self._written.set()
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock.fileno())
        self._on_written()

    def _connack(self, client: Any, data: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None) -> None:
        self._on_connack(flags.session_present, code, properties)
        self._connected(client, data, flags, code, properties)

    def _disconnect(self, client: Any, data: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        reason = self._reason or why_ended(self.named(code) if by_broker else None, code.value)
        self._disconnected(client, data, flags, code, properties)
        self._ended(reason, code.value if by_broker else None)

    def _ended(self, reason: str, code: int | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._written.set()
        # without this aiomqtt waits out its time for an answer that cannot come
        if not self._client._connected.done():
            self._client._connected.set_exception(aiomqtt.MqttError(reason))
            self._client._connected.exception()  # retrieved, or asyncio complains where nothing waits for it
        if not self._client._disconnected.done():
            self._client._disconnected.set_result(None)
        elif not self._client._disconnected.cancelled():
            self._client._disconnected.exception()  # retrieved: nothing else asks for it
        self._on_lost(reason, code)
