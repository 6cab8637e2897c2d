"""A WebSocket is opened with a server that answers as it should, and any other answer costs neither memory nor time.

Covers also: edgerouter.mqtt.exchange.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from edgerouter.mqtt.upgrade import Upgrade, UpgradeRefused

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Answer = Callable[[socket.socket, bytes], None]


def accepted(connection: socket.socket, request: bytes) -> None:
    """Open a WebSocket, and send a frame with it."""
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: keep-alive, upgrade\r\n"
        b"sec-websocket-accept:" + accept + b"\r\n\r\n\x82\x04data"
    )


def says(answer: bytes) -> Answer:
    """Return a server that gives one answer, as far as it is read."""

    def say(connection: socket.socket, _: bytes) -> None:
        with suppress(OSError):
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)

    return say


@contextmanager
def server(answer: Answer) -> Iterator[tuple[socket.socket, list[bytes]]]:
    """Serve one connection; yields the client's end, and the requests."""
    ours, theirs = socket.socketpair()
    requests: list[bytes] = []

    def serve() -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += theirs.recv(4096)
        requests.append(request)
        answer(theirs, request)

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        yield ours, requests
    finally:
        ours.close()
        thread.join()
        theirs.close()


def upgrade(seconds: float = 60) -> Upgrade:
    return Upgrade("broker", 8083, tls=False, path="/mqtt", seconds=seconds, headers={"X-Token": "secret"})


def test_the_bytes_behind_the_answer_belong_to_the_websocket() -> None:
    with server(accepted) as (connection, requests):
        assert upgrade().open(connection).recv(100) == b"data"
    lines = requests[0].split(b"\r\n")
    assert lines[0] == b"GET /mqtt HTTP/1.1"
    assert {b"Host: broker:8083", b"Sec-WebSocket-Protocol: mqtt", b"X-Token: secret"} < set(lines)


@pytest.mark.parametrize(
    ("answer", "reason", "lasting"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "it answers 403 Forbidden", True),
        (b"HTTP/1.1 503 Busy\x1b[2J\r\n\r\n", "it answers 503 Busy[2J", False),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "it answers 429", False),
        (b"\x20\x02\x00\x00\r\n\r\n", "it does not answer in HTTP", True),
        (b"HTTP/1.1 101 Yes\r\n\r\n", "it does not upgrade the connection", True),
        (
            b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \xe4\r\n\r\n",
            "its answer is for another request",
            True,
        ),
        (b"HTTP/1.1 101 Ye", "it closed the connection", False),
    ],
)
def test_a_server_that_refuses_is_quoted(answer: bytes, reason: str, lasting: bool) -> None:
    with server(says(answer)) as (connection, _), pytest.raises(UpgradeRefused) as refused:
        upgrade().open(connection)
    assert reason in str(refused.value)
    assert refused.value.lasting == lasting


@pytest.mark.parametrize("junk", [b"j" * 10**7, b"HTTP/1.1 101 Yes\r\n" + b"A: b\r\n" * 10**6])
def test_an_answer_without_an_end_is_not_read_to_its_end(junk: bytes) -> None:
    with server(says(junk)) as (connection, _):
        tracemalloc.start()
        with pytest.raises(UpgradeRefused, match="does not end"):
            upgrade().open(connection)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**21


def test_a_server_that_keeps_sending_does_not_postpone_the_end_of_the_time() -> None:
    given_up = threading.Event()

    def drip(connection: socket.socket, _: bytes) -> None:
        with suppress(OSError):
            while not given_up.is_set():
                connection.sendall(b"H")
                given_up.wait(0.01)

    with server(drip) as (connection, _):
        try:
            with pytest.raises(TimeoutError, match="does not answer"):
                upgrade(seconds=0.2).open(connection)
        finally:
            given_up.set()
