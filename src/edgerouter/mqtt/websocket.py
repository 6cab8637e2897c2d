"""A WebSocket that carries MQTT (RFC 6455; MQTT 5.0, 6): frames are read as they stream by, and written masked.

A broker may send a message of any size as one frame, so what bounds a message has to see its bytes as they come.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from typing import Final

_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0, 2, 8, 9, 10
_KNOWN: Final = {_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG}
"""Without text: MQTT is binary (MQTT-6.0.0-1)."""
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_FRAMES: Final = 100
"""Frames without data in one read: the event loop is for others too."""
_LONGEST_CONTROL: Final = 125
"""Payload of a control frame (RFC 6455, 5.5)."""


class _Ended(ConnectionAbortedError):
    """The end of the connection, with the reason."""


class WebSocket:
    """A connection after its upgrade, used like a socket; `recv` and `send` take the bytes of MQTT.

    Args:
        connection: a socket, or TLS above one.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.farewell = ""
        """Reason of the end, where the server gave one or has broken the protocol."""
        self._connection = connection
        self._header = bytearray()
        self._control = bytearray()
        self._opcode = _BINARY
        self._mask = b""
        self._left = 0
        self._offset = 0
        self._out = bytearray()
        """Frames that the socket has not taken."""
        self._framed = 0
        """Bytes of data in them, all given to `send` by its present caller."""
        self._answer = b""
        """Answer to the latest control frame, for which there was no place between frames (5.5.3)."""

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._connection.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set the socket's mode."""
        self._connection.setblocking(flag)

    def close(self) -> None:
        """Close the socket at once."""
        self._connection.close()

    def pending(self) -> int:
        """Return the bytes that TLS holds."""
        return self._connection.pending() if isinstance(self._connection, ssl.SSLSocket) else 0

    def recv(self, length: int) -> bytes:
        """Return up to `length` bytes of MQTT; empty at the end of the connection.

        Raises:
            BlockingIOError: nothing more has come; `ssl.SSLWantReadError` above TLS.
        """
        try:
            for _ in range(_FRAMES):
                if not self._left and not self._begin_frame():
                    continue
                data = self._read(min(self._left, length))
                self._left -= len(data)
                if self._mask:
                    data = _masked(data, self._mask, self._offset)
                    self._offset += len(data)
                if self._opcode < _CLOSE:
                    return data
                self._control += data
                if not self._left:
                    self._controlled()
        except ConnectionError as error:
            self.farewell = str(error) if isinstance(error, _Ended) else ""
            return b""
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """Send bytes in a frame. Returns their number once the socket has taken all; until then 0, and they are to be given again.

        Raises:
            BlockingIOError: the socket takes nothing now; `ssl.SSLWantWriteError` above TLS.
        """
        if not self._framed:
            self._out += self._take_answer() + _frame(_BINARY, data)
            self._framed = len(data)
        self._flush()
        if self._out:
            return 0
        sent, self._framed = self._framed, 0
        if self._answer:
            self._answer_now()
        return sent

    def _begin_frame(self) -> bool:
        """Read a header; returns whether a payload follows it."""
        header = self._header
        self._fill(2)
        size = {126: 4, 127: 10}.get(header[1] & 127, 2)
        masked = header[1] & _MASKED
        self._fill(size + (4 if masked else 0))
        first, self._opcode = header[0], header[0] & 15
        self._left = header[1] & 127
        if size > 2:
            (self._left,) = struct.unpack("!H" if size == 4 else "!Q", header[2:size])
        self._mask = bytes(header[size:]) if masked else b""
        self._offset = 0
        header.clear()
        self._control.clear()
        if self._opcode not in _KNOWN or first & 0x70:
            raise _Ended(f"the server sent a WebSocket frame that is not for MQTT: 0x{first:02x}")
        if self._opcode >= _CLOSE and (self._left > _LONGEST_CONTROL or not first & _FINAL):
            raise _Ended("the server sent a control frame of WebSocket that is too long")
        if self._opcode >= _CLOSE and not self._left:
            self._controlled()
        return self._left > 0

    def _fill(self, size: int) -> None:
        while len(self._header) < size:
            self._header += self._read(size - len(self._header))

    def _read(self, size: int) -> bytes:
        data = self._connection.recv(size)
        if not data:
            raise ConnectionAbortedError
        return data

    def _controlled(self) -> None:
        """Answer a control frame; after a close nothing more comes."""
        payload = bytes(self._control)
        if self._opcode == _PING:
            self._answer = _frame(_PONG, payload)
            self._answer_now()
        elif self._opcode == _CLOSE:
            self._answer = _frame(_CLOSE, payload[:2])
            self._answer_now()
            raise _Ended(_farewell(payload))

    def _answer_now(self) -> None:
        """Send the answer unless a frame is being sent."""
        if not self._framed:
            self._out += self._take_answer() if not self._out else b""
            try:
                self._flush()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return  # goes out before the next data

    def _take_answer(self) -> bytes:
        answer, self._answer = self._answer, b""
        return answer

    def _flush(self) -> None:
        if self._out:
            del self._out[: self._connection.send(self._out)]


def _frame(opcode: int, payload: bytes | bytearray) -> bytes:
    """Encode a frame, masked as a client must (RFC 6455, 5.3)."""
    size, mask = len(payload), os.urandom(4)
    if size < 126:
        head = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 65_536:
        head = struct.pack("!BBH", _FINAL | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FINAL | opcode, _MASKED | 127, size)
    return head + mask + _masked(payload, mask, 0)


def _masked(data: bytes | bytearray, mask: bytes, offset: int) -> bytes:
    turn = offset % 4
    whole = (mask[turn:] + mask[:turn]) * (len(data) // 4 + 1)
    return (int.from_bytes(data) ^ int.from_bytes(whole[: len(data)])).to_bytes(len(data))


def _farewell(payload: bytes) -> str:
    if len(payload) < 2:
        return "the server closed the WebSocket"
    reason = "".join(each for each in payload[2:].decode(errors="replace") if each.isprintable())
    return f"the server closed the WebSocket: {int.from_bytes(payload[:2])} {reason}".rstrip()
