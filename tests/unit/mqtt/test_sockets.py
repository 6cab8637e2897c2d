"""Errors of sockets are shown as text, and TCP acknowledges at once what is awaited."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from edgerouter.mqtt.sockets import acknowledge_now, acknowledge_soon, as_text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("[Errno 111] Connection refused", "Connection refused"),
        ("[Errno -2] Name or service not known", "Name or service not known"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer (_ssl.c:1006)",
            "TLS: certificate verify failed: unable to get issuer",
        ),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "TLS: wrong version number"),
        ("WebSocket handshake error", "WebSocket handshake error"),
    ],
)
def test_an_error_is_shown_as_text(error: str, words: str) -> None:
    assert as_text(error) == words


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_QUICKACK is Linux's")
def test_a_socket_that_delays_its_acknowledgements_sends_them_at_once_when_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        acknowledge_now(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


def test_a_kernel_that_can_delays_acknowledgements_by_less_than_a_commit() -> None:
    longest_delay = 46  # TCP_DELACK_MAX_US, since Linux 6.15
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        acknowledge_soon(sock)  # others are left as they are, without an error
        release = tuple(map(int, os.uname().release.split(".")[:2]))
        if sys.platform == "linux" and release >= (6, 15):
            assert 0 < sock.getsockopt(socket.IPPROTO_TCP, longest_delay) < 20_000
