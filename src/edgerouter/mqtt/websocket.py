"""Reads WebSocket frames as they stream by, where paho holds a whole frame, and copies it again with every read.

A broker may send a message of any size as one frame, so what bounds a message has to see its bytes as they come.
"""
# ruff: noqa: SLF001  (part of the reach into paho)

from __future__ import annotations

import struct
from typing import Any, Final

_CONTINUATION, _BINARY, _CLOSE, _PING = 0, 2, 8, 9
_FRAMES: Final = 100
"""Frames without data in one read: the event loop is for others too."""
_LONGEST_CONTROL: Final = 125
"""Payload of a control frame (RFC 6455, 5.5)."""


class FrameReader:
    """Replaces `_recv_impl` of paho's WebSocket.

    Args:
        wrapper: paho's WebSocket, after its handshake.
    """

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._header = bytearray()
        self._control = bytearray()
        self._opcode = _BINARY
        self._mask = b""
        self._left = 0
        self._offset = 0

    def recv(self, length: int) -> bytes:
        """Return up to `length` bytes of MQTT; empty at the end of the connection.

        Raises:
            BlockingIOError: nothing more has come.
        """
        try:
            for _ in range(_FRAMES):
                if not self._left and not self._begin_frame():
                    continue
                data = self._read(min(self._left, length))
                self._left -= len(data)
                if self._mask:
                    data = self._unmasked(data)
                if self._opcode in (_BINARY, _CONTINUATION):
                    return data
                if self._opcode >= _CLOSE:
                    self._control += data
                    if not self._left:
                        self._answer()
        except ConnectionError:
            self._wrapper.connected = False
            return b""
        raise BlockingIOError

    def _begin_frame(self) -> bool:
        """Read a header; returns whether a payload follows it."""
        header = self._header
        self._fill(2)
        size = {126: 4, 127: 10}.get(header[1] & 127, 2)
        masked = header[1] & 128
        self._fill(size + (4 if masked else 0))
        self._opcode = header[0] & 15
        self._left = header[1] & 127
        if size > 2:
            (self._left,) = struct.unpack("!H" if size == 4 else "!Q", header[2:size])
        self._mask = bytes(header[size:]) if masked else b""
        self._offset = 0
        header.clear()
        self._control.clear()
        if self._opcode >= _CLOSE and self._left > _LONGEST_CONTROL:
            raise ConnectionAbortedError("a control frame that is too long")
        if self._opcode >= _CLOSE and not self._left:
            self._answer()
        return self._left > 0

    def _fill(self, size: int) -> None:
        while len(self._header) < size:
            self._header += self._read(size - len(self._header))

    def _read(self, size: int) -> bytes:
        data: bytes = self._wrapper._socket.recv(size)
        if not data:
            raise ConnectionAbortedError
        return data

    def _unmasked(self, data: bytes) -> bytes:
        turn = self._offset % 4
        mask = (self._mask[turn:] + self._mask[:turn]) * (len(data) // 4 + 1)
        self._offset += len(data)
        return (int.from_bytes(data) ^ int.from_bytes(mask[: len(data)])).to_bytes(len(data))

    def _answer(self) -> None:
        wrapper = self._wrapper
        opcode = {_CLOSE: wrapper.OPCODE_CONNCLOSE, _PING: wrapper.OPCODE_PONG}.get(self._opcode)
        if opcode is None:
            return
        frame = wrapper._create_frame(opcode, bytearray(self._control), 0)
        if wrapper._sendbuffer:
            # not into the middle of a frame that is being sent
            wrapper._sendbuffer.extend(frame)
        else:
            wrapper._socket.send(frame)
