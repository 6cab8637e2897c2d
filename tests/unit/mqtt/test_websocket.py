"""WebSocket frames as they stream by."""

from __future__ import annotations

import socket
import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import _WebsocketWrapper

from edgerouter.mqtt.websocket import FrameReader


class Wrapper:
    """Stand-in for paho's WebSocket, as far as the reader uses it."""

    OPCODE_CONNCLOSE = _WebsocketWrapper.OPCODE_CONNCLOSE
    OPCODE_PONG = _WebsocketWrapper.OPCODE_PONG

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sendbuffer = bytearray()
        self.connected = True

    def _create_frame(self, opcode: int, data: bytearray, _do_masking: int = 1) -> bytes:
        return bytes([0x80 | opcode, len(data)]) + data


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Wrapper]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield theirs, Wrapper(ours)


def frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    size = len(payload)
    short, rest = (size, b"") if size < 126 else (126, struct.pack("!H", size)) if size < 65_536 else (127, struct.pack("!Q", size))
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else payload
    return bytes([0x80 | opcode, short | (128 if mask else 0)]) + rest + mask + masked


def read_all(reader: FrameReader, most: int) -> bytes:
    found = b""
    try:
        while data := reader.recv(most):
            assert len(data) <= most
            found += data
    except BlockingIOError:
        return found
    return found + b"(end)"


@given(
    payloads=st.lists(st.one_of(st.binary(max_size=300), st.integers(60_000, 70_000).map(bytes)), max_size=4),
    cut=st.integers(1, 70_000),
    most=st.integers(1, 70_000),
    mask=st.sampled_from([b"", b"\x01\x02\x03\x04"]),
)
def test_however_frames_are_cut_their_bytes_come_out(payloads: list[bytes], cut: int, most: int, mask: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader = FrameReader(Wrapper(ours))
        data = b"".join(frame(2, payload, mask) for payload in payloads)
        cut = max(cut, len(data) // 200)
        most = max(most, len(data) // 200)
        found = b""
        for at in range(0, len(data), cut):
            theirs.sendall(data[at : at + cut])
            found += read_all(reader, most)
        assert found == b"".join(payloads)


def test_a_frame_of_80_mb_is_never_held(ends: tuple[socket.socket, Wrapper]) -> None:
    theirs, wrapper = ends
    reader = FrameReader(wrapper)
    theirs.sendall(frame(2, b"")[:1] + b"\x7f" + struct.pack("!Q", 80 * 1024**2))
    piece = bytes(64 * 1024)
    tracemalloc.start()
    for _ in range(1280):
        theirs.sendall(piece)
        assert len(read_all(reader, 128 * 1024)) == len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024**2


def test_a_ping_is_answered_and_a_close_ends_the_connection(ends: tuple[socket.socket, Wrapper]) -> None:
    theirs, wrapper = ends
    reader = FrameReader(wrapper)
    theirs.sendall(frame(9, b"are you there") + frame(9, b"") + frame(2, b"data"))
    assert read_all(reader, 100) == b"data"
    assert theirs.recv(100) == b"\x8a\x0dare you there\x8a\x00"
    theirs.sendall(frame(8, b"\x03\xe8"))
    theirs.shutdown(socket.SHUT_WR)
    assert read_all(reader, 100) == b"(end)"
    assert not wrapper.connected


def test_a_control_frame_that_is_too_long_ends_the_connection(ends: tuple[socket.socket, Wrapper]) -> None:
    theirs, wrapper = ends
    theirs.sendall(b"\x89\x7f" + struct.pack("!Q", 1 << 40))
    assert read_all(FrameReader(wrapper), 100) == b"(end)"
