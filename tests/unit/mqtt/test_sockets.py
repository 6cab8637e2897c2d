"""Errors of sockets are shown as text."""

from __future__ import annotations

import pytest

from edgerouter.mqtt.sockets import as_text


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
