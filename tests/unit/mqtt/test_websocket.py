"""WebSocket frames as they stream by."""

from __future__ import annotations

import socket
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter.mqtt.websocket import WebSocket


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, WebSocket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield theirs, WebSocket(ours)


def frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    size = len(payload)
    short, rest = (size, b"") if size < 126 else (126, struct.pack("!H", size)) if size < 65_536 else (127, struct.pack("!Q", size))
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else payload
    return bytes([0x80 | opcode, short | (128 if mask else 0)]) + rest + mask + masked


def read_all(reader: WebSocket, most: int) -> bytes:
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
        reader = WebSocket(ours)
        data = b"".join(frame(2, payload, mask) for payload in payloads)
        cut = max(cut, len(data) // 200)
        most = max(most, len(data) // 200)
        found = b""
        for at in range(0, len(data), cut):
            theirs.sendall(data[at : at + cut])
            found += read_all(reader, most)
        assert found == b"".join(payloads)


def test_a_frame_of_80_mb_is_never_held(ends: tuple[socket.socket, WebSocket]) -> None:
    theirs, reader = ends
    theirs.sendall(frame(2, b"")[:1] + b"\x7f" + struct.pack("!Q", 80 * 1024**2))
    piece = bytes(64 * 1024)
    tracemalloc.start()
    for _ in range(1280):
        theirs.sendall(piece)
        assert len(read_all(reader, 128 * 1024)) == len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024**2


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and payload of each frame of a client, which masks every one."""
    found, at = [], 0
    while at < len(data):
        size, start = data[at + 1] & 127, at + 2
        assert data[at + 1] & 128, "a client masks its frames (RFC 6455, 5.1)"
        if size > 125:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2 : start])
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        assert len(payload) == size
        found.append((data[at] & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))))
        at = start + 4 + size
    return found


def drain(theirs: socket.socket) -> bytes:
    """Return what the client has written."""
    theirs.setblocking(False)
    found = b""
    with suppress(BlockingIOError):
        while data := theirs.recv(2**20):
            found += data
    return found


def test_a_ping_is_answered_in_a_masked_frame(ends: tuple[socket.socket, WebSocket]) -> None:
    theirs, ours = ends
    theirs.sendall(frame(9, b"are you there") + frame(9, b"") + frame(2, b"data"))
    assert read_all(ours, 100) == b"data"
    assert frames(drain(theirs)) == [(10, b"are you there"), (10, b"")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "the server closed the WebSocket"),
        (b"\x03\xe8", "the server closed the WebSocket: 1000"),
        (b"\x03\xf0not\x1b yours", "the server closed the WebSocket: 1008 not yours"),
    ],
)
def test_a_close_is_answered_and_ends_the_connection_with_its_reason(
    ends: tuple[socket.socket, WebSocket], payload: bytes, reason: str
) -> None:
    theirs, ours = ends
    theirs.sendall(frame(2, b"data") + frame(8, payload))
    assert read_all(ours, 100) == b"data(end)"
    assert frames(drain(theirs)) == [(8, payload[:2])]
    assert ours.farewell == reason


@pytest.mark.parametrize(
    "broken", [frame(1, b"text"), frame(3, b"?"), b"\xc2\x01x", b"\x09\x00", b"\x89\x7f" + struct.pack("!Q", 1 << 40)]
)
def test_a_frame_that_is_not_for_mqtt_ends_the_connection(ends: tuple[socket.socket, WebSocket], broken: bytes) -> None:
    theirs, ours = ends
    theirs.sendall(broken)
    assert read_all(ours, 100) == b"(end)"
    assert "the server sent" in ours.farewell


def test_a_connection_that_breaks_ends_without_a_reason(ends: tuple[socket.socket, WebSocket]) -> None:
    theirs, ours = ends
    theirs.shutdown(socket.SHUT_WR)
    assert read_all(ours, 100) == b"(end)"
    assert not ours.farewell


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 3 * 2**20])
def test_data_of_any_size_is_one_frame_however_slowly_it_is_read(ends: tuple[socket.socket, WebSocket], size: int) -> None:
    theirs, ours = ends
    data = bytes(place % 251 for place in range(size))
    found, sent = b"", 0
    while not sent:
        with suppress(BlockingIOError):
            sent = ours.send(data)
        found += drain(theirs)
    assert sent == size
    assert frames(found) == [(2, data)]


def test_pings_amid_a_frame_that_is_being_sent_are_answered_once_behind_it(ends: tuple[socket.socket, WebSocket]) -> None:
    theirs, ours = ends
    data = bytes(3 * 2**20)
    assert not ours.send(data)
    theirs.setblocking(True)
    theirs.sendall(b"".join(frame(9, b"%d" % number) for number in range(50)))
    assert read_all(ours, 100) == b""
    found, sent = b"", 0
    while not sent:
        found += drain(theirs)
        with suppress(BlockingIOError):
            sent = ours.send(data)
    assert frames(found + drain(theirs)) == [(2, data), (10, b"49")]


def test_a_server_that_sends_pings_and_reads_nothing_does_not_fill_the_memory(ends: tuple[socket.socket, WebSocket]) -> None:
    theirs, ours = ends
    pings = frame(9, bytes(125)) * 50
    tracemalloc.start()
    for _ in range(200):
        theirs.setblocking(True)
        theirs.sendall(pings)
        assert read_all(ours, 1000) == b""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 256 * 1024
    theirs.setblocking(True)
    received = drain(theirs)
    with suppress(BlockingIOError):
        ours.send(b"data")
    answers = frames(received + drain(theirs))
    assert answers[-1] == (2, b"data")
    assert set(answers[:-1]) == {(10, bytes(125))}
