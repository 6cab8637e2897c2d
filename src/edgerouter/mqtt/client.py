"""The reach into paho, the MQTT client beneath aiomqtt: reading, answering and closing without its cost per message.

Everything of paho's and aiomqtt's that is not public and that the source uses is used here and listed in `PRIVATE_NAMES`;
docs/decisions/002 says why. paho keeps what it is good at: connecting, subscribing, publishing, and keep-alives.
"""
# ruff: noqa: SLF001  (this module is the reach)

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.mqtt.closing import AT_MOST, read_to_the_end
from edgerouter.mqtt.codes import with_known_codes
from edgerouter.mqtt.packets import MalformedPacket
from edgerouter.mqtt.sockets import has_failed
from edgerouter.mqtt.websocket import FrameReader

PRIVATE_NAMES: Final = (
    "_create_socket_connection",
    "_in_packet",
    "_keepalive",
    "_last_bytes_received",
    "_loop_rc_handle",
    "_msgtime_mutex",
    "_packet_handle",
    "_packet_queue",
    "_ping_t",
    "_protocol",
    "_send_pingreq",
    "_sock",
    "_sock_close",
    "_sock_recv",
)
"""What a new release of paho must still have."""
AIOMQTT_PRIVATE_NAMES: Final = ("_client", "_connected", "_disconnected")
"""What a new release of aiomqtt must still have."""

LOST: Final = "the connection was lost"
"""Without a word of the broker."""
_READ: Final = 128 * 1024
_ROUNDS: Final = 16
"""Reads in one turn of the event loop, where a TLS record or a WebSocket frame ends a read early."""


class ReachedClient:
    """A paho client whose socket we read.

    Args:
        client: made, not connected.
        on_bytes: gets what was read; raises MalformedPacket when the connection is of no use.
        on_connack: gets the broker's answer before any publish of this connection.
        on_lost: called once, with the reason, and the reason code where the broker gave one.
        timeout: seconds for each step of connecting: TCP, TLS, WebSocket.
        on_written: called when the socket has taken everything that was sent.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        *,
        on_bytes: Callable[[bytes], None],
        on_connack: Callable[[bool, ReasonCode, Properties | None], None],
        on_lost: Callable[[str, int | None], None],
        timeout: float,
        on_written: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._paho = client._client
        self._on_bytes = on_bytes
        self._on_connack = on_connack
        self._on_lost = on_lost
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self.on_keep_alive: Callable[[], None] = lambda: None
        """Called when paho sends a PINGREQ."""
        self._paho.connect_timeout = timeout
        self._thread = threading.get_ident()
        self._reading = True
        self._writing = False
        self._fileno = -1
        self._whole_reads = False
        self._lost = False
        self._discarding = False
        self._written = asyncio.Event()
        self._malformed: str | None = None
        self.unknown_code: int | None = None
        """Last reason code that MQTT does not define, where the broker gave one."""
        self._tcp: socket.socket | None = None
        self._create_tcp = self._paho._create_socket_connection
        self._paho._create_socket_connection = self._connect_tcp  # type: ignore[method-assign]  # this is the reach
        self._send_ping = self._paho._send_pingreq
        self._paho._send_pingreq = self._keep_alive  # type: ignore[method-assign]  # this is the reach
        self._open_socket = self._paho.on_socket_open
        self._connected = self._paho.on_connect
        self._disconnected = self._paho.on_disconnect
        self._paho.on_socket_open = self._socket_opened
        # aiomqtt's own register the number of a file that may be closed, and another's, when their turn comes
        self._paho.on_socket_register_write = self._wants_to_write
        self._paho.on_socket_unregister_write = self._has_written
        self._paho.on_connect = self._connack
        self._paho.on_disconnect = self._disconnect

    @property
    def awaits_answer_since(self) -> float:
        """When the keep-alive was sent that the broker has not answered yet (monotonic clock); 0 when none is open."""
        return float(self._paho._ping_t)

    @property
    def keepalive(self) -> int:
        """Seconds of silence after which the link is tested: the broker's wish, where it has one."""
        return int(self._paho._keepalive)

    @property
    def is_open(self) -> bool:
        """There is a socket."""
        return self._paho._sock is not None

    def pause(self) -> None:
        """Read no more; the connection stays up as long as keep-alives are answered."""
        if self._reading:
            self._reading = False
            if self._fileno >= 0:
                self._loop.remove_reader(self._fileno)

    def resume(self) -> None:
        """Read again."""
        if not self._reading:
            self._reading = True
            if self.is_open:
                self._watch(self._loop.add_reader, self._fileno, self._readable)
                # TLS may hold what the socket no longer shows
                self._loop.call_soon(self._readable)

    def notice_failure(self) -> None:
        """End the connection if it has failed without the event loop telling, after what still came in is read."""
        if not self.is_open or not has_failed(self._fileno):
            return
        while self._reading and self.is_open and self._read_once():
            pass
        if self.is_open:
            self.close(LOST)

    def read_a_dose(self) -> None:
        """Read once although reading is paused, so that the answer to a keep-alive can come through."""
        if self.is_open:
            self._read_once()

    def go_on(self) -> None:
        """Let what was read, and held back for want of room, be taken in."""
        if self._reading and self.is_open:
            self._hand_on(b"")

    def handle(self, command: int, body: bytes) -> bool:
        """Let paho handle a packet. Returns whether the connection still stands."""
        paho = self._paho
        body, unknown = with_known_codes(command, body, version5=paho._protocol == MQTTProtocolVersion.MQTTv5)
        if unknown is not None:
            self.unknown_code = unknown
        packet: Any = {
            "command": command,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        paho._in_packet = packet
        try:
            code = paho._packet_handle()
        except Exception as error:  # paho raises many kinds for a packet that is wrong
            raise MalformedPacket(f"packet 0x{command:02x} is malformed") from error
        if code > 0:
            paho._loop_rc_handle(code)
        return paho._sock is not None and not self._lost

    def queue(self, packets: bytes) -> None:
        """Send packets that need no answer, all in one piece, when the event loop turns; safe while a packet is handled."""
        if self.is_open:
            self._paho._packet_queue(0, packets, 0, 0)

    def send(self, packets: bytes) -> None:
        """Send packets that need no answer, all in one piece, at once as far as the socket takes them."""
        if self.is_open:
            self._writing = True
            try:
                self._paho._packet_queue(0, packets, 0, 0)
                self._paho.loop_write()
            finally:
                self._writing = False
            if self.is_open and self._paho.want_write():
                self._add_writer(self._paho._sock)

    def discard(self) -> None:
        """Take in nothing more of what is read: the connection is going to be finished."""
        self._discarding = True

    async def finish(self, packets: bytes) -> bool:
        """Send these last packets and close by half.

        Returns:
            whether the broker is known to have read all that was sent; it may have been slow, or the connection was lost.
        """
        if not self.is_open:
            return False
        self.discard()
        self.resume()
        self._written.clear()
        # not as the DISCONNECT that it is: paho would close the socket
        self._paho._packet_queue(0, packets, 0, 0)
        try:
            async with asyncio.timeout(AT_MOST):
                await self._written.wait()
        except TimeoutError:
            return False
        if not self.is_open:
            return False
        connection = socket.socket(fileno=os.dup(self._fileno))
        self.close("closed")
        return await read_to_the_end(connection)

    def close(self, reason: str) -> None:
        """Close the socket at once, as if the connection were lost. The broker publishes the last will."""
        self._paho._sock_close()
        if self._tcp is not None:
            # paho forgets it when a handshake above it fails
            self._tcp.close()
        self._ended(reason, None)

    def _keep_alive(self) -> MQTTErrorCode:
        self.on_keep_alive()
        return self._send_ping()

    def named(self, code: object) -> str:
        """Return a reason code's name, with the number where the broker's is unknown."""
        return str(code) if self.unknown_code is None else f"{code} (reason code 0x{self.unknown_code:02X})"

    def _connect_tcp(self) -> socket.socket:
        self._tcp = self._create_tcp()
        return self._tcp

    def _socket_opened(self, client: Any, userdata: Any, sock: Any) -> None:
        # runs in the thread that connects; what aiomqtt schedules first is replaced by ours before the loop turns
        if self._open_socket is not None:
            self._open_socket(client, userdata, sock)
        if hasattr(sock, "_recv_impl"):
            sock._recv_impl = FrameReader(sock).recv
        self._fileno = sock.fileno()
        self._whole_reads = not hasattr(sock, "pending")
        self._loop.call_soon_threadsafe(self._watch, self._loop.add_reader, self._fileno, self._readable)

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
        if self._on_written is not None:
            self._on_written()

    def _connack(self, client: Any, userdata: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None) -> None:
        self._on_connack(flags.session_present, code, properties)
        if self._connected is not None:
            self._connected(client, userdata, flags, code, properties)  # type: ignore[arg-type,call-arg]  # callback version 2

    def _disconnect(
        self, client: Any, userdata: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        if self._malformed is not None:
            reason = self._malformed
        elif by_broker:
            reason = f"the broker disconnected: {self.named(code)}"
        elif code.value == 141:  # how paho says that a keep-alive was not answered
            reason = "the broker does not answer"
        else:
            reason = LOST
        if self._disconnected is not None:
            self._disconnected(client, userdata, flags, code, properties)  # type: ignore[arg-type,call-arg]  # callback version 2
        self._ended(reason, code.value if by_broker else None)

    def _ended(self, reason: str, code: int | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._written.set()
        # without this aiomqtt waits out its time for an answer that cannot come
        if not self._client._connected.done():
            self._client._connected.set_exception(aiomqtt.MqttError(reason))
            self._client._connected.exception()  # seen, should nobody wait for it any more
        if not self._client._disconnected.done():
            self._client._disconnected.set_result(None)
        elif not self._client._disconnected.cancelled():
            self._client._disconnected.exception()  # seen: nobody else asks for it
        self._on_lost(reason, code)

    def _readable(self) -> None:
        if not self._reading or not self.is_open:
            return
        if self._whole_reads:
            self._read_once()
            return
        sock: Any = self._paho._sock
        for _ in range(_ROUNDS):
            if not self._read_once():
                # the end of a frame looks like the end of what there is; TLS may hold more, which the socket does not show
                if self.is_open and sock.pending() > 0:
                    break
                return
            if not self._reading or not self.is_open:
                return
        self._loop.call_soon(self._readable)

    def _read_once(self) -> bool:
        paho = self._paho
        try:
            data = paho._sock_recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            return False
        if not data:
            paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            return False
        with paho._msgtime_mutex:
            paho._last_bytes_received = time.monotonic()
        return self._hand_on(data)

    def _hand_on(self, data: bytes) -> bool:
        if self._discarding:
            return True
        try:
            self._on_bytes(data)
        except MalformedPacket as error:
            self._malformed = f"the broker does not speak MQTT as it should: {error}"
            self._paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
            return False
        return True
