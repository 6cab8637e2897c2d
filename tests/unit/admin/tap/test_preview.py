"""A message is shown cut, redacted and without known secrets."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from edgerouter import Message
from edgerouter.admin.tap.listener import Listener
from edgerouter.admin.tap.preview import Preview, Tapped
from edgerouter.config.admin import TapConfig
from edgerouter.masking import protect
from edgerouter.message import Properties
from edgerouter.pipeline.tap import itself

SECRET = "Kq7vTz2wXy9bRm4n"


async def shown(message: Message, **config: Any) -> Tapped:
    """Return what a listener gets of a message."""
    settings = TapConfig.model_validate(config)
    listener = Listener("#", settings, lambda: None, lambda: 0.0)
    listener.look([message], itself)
    (tapped,) = Preview(settings).all(listener.take()[0])
    msgspec.json.encode(tapped)
    return tapped


def sent(payload: bytes, topic: str = "a/b", **properties: Any) -> Message:
    return Message(topic, payload, 1_500_000_000, 1, True, Properties(**properties), "spool", 7, "local")


async def test_a_text_is_shown_with_all_that_is_known_of_its_message() -> None:
    found = await shown(sent('{"t": "21 °C"}'.encode(), user=(("unit", "C"),)))
    assert json.loads(msgspec.json.encode(found)) == {
        "at": 1.5, "id": "spool-7", "source": "local", "topic": "a/b", "payload": '{"t": "21 °C"}', "encoding": "text",
        "hidden": "", "size": 15, "cut": False, "qos": 1, "retained": True, "user_properties": [["unit", "C"]],
        "user_properties_left_out": 0,
    }  # fmt: skip


async def test_a_message_without_a_sequence_has_no_id() -> None:
    assert (await shown(Message("a", b"x", 1))).id == ""


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 100_000])
async def test_a_preview_is_bounded_in_bytes_and_says_that_it_is_cut(size: int) -> None:
    for character in ("x", "ä", "\U0001f600"):
        payload = (character * size).encode()
        found = await shown(sent(payload), preview_bytes=64)
        assert len(found.payload.encode()) <= 64
        assert (character * size).startswith(found.payload)
        assert found.cut is (len(payload) > 64)
        assert (found.encoding, found.size) == ("text", len(payload))


async def test_bytes_that_are_not_text_are_shown_in_base64() -> None:
    found = await shown(sent(bytes(range(256)) * 4), preview_bytes=100)
    assert found.encoding == "base64"
    assert base64.b64decode(found.payload) == bytes(range(100))
    assert found.cut
    assert (await shown(sent(b"\xff" * 100), preview_bytes=100)).cut is False


@pytest.mark.parametrize("filling", [0, 40, 50, 55, 60, 63])
async def test_a_known_secret_is_masked_also_where_the_preview_ends(filling: int) -> None:
    protect(SECRET)
    found = await shown(sent(f"{'-' * filling}{SECRET} and more".encode()), preview_bytes=64)
    assert SECRET[:8] not in found.payload
    assert SECRET[-8:] not in found.payload


@pytest.mark.parametrize(
    "payload",
    [
        SECRET.encode(),
        json.dumps({"login": SECRET}).encode(),
        base64.b64encode(f"user:{SECRET}".encode()),
        SECRET.encode().hex().encode(),
        b"\xff\xfe" + SECRET.encode() + b"\x00",
        b'{"password": "hunter2hunter2"}',
    ],
)
async def test_no_form_of_a_secret_is_shown(payload: bytes) -> None:
    protect(SECRET)
    message = sent(payload, topic=f"t/{SECRET}", user=((SECRET, "x"), ("x", SECRET)))
    text = msgspec.json.encode(await shown(message)).decode()
    assert SECRET not in text
    assert SECRET.encode().hex() not in text
    assert "hunter2" not in text
    assert base64.b64encode(f"user:{SECRET}".encode()).decode() not in text
    assert base64.b64encode(payload).decode() not in text


async def test_fields_are_redacted_and_so_are_user_properties_of_that_name() -> None:
    found = await shown(sent(b'{"pin": 4711, "t": 1}', user=(("PIN", "4711"), ("a", "b"))), redact={"fields": ["pin"]})
    assert found.payload == '{"pin":"***","t":1}'
    assert found.user_properties == [("PIN", "***"), ("a", "b")]
    long = await shown(sent(json.dumps({"a": "x" * 2000, "pin": "4711"}).encode()), redact={"fields": ["pin"]}, preview_bytes=64)
    assert (long.encoding, long.cut) == ("text", True)
    assert len(long.payload) == 64


@pytest.mark.parametrize(
    ("payload", "redact", "reason"),
    [
        (b"pin=4711", {"fields": ["pin"]}, "not a JSON document"),
        (b"x" * 70_000, {"fields": ["pin"]}, "65536 bytes"),
        (b"21", {"topics": ["a/#"]}, "`admin.tap.redact.topics`"),
    ],
)
async def test_a_payload_that_is_not_shown_has_its_reason_and_size(payload: bytes, redact: Any, reason: str) -> None:
    found = await shown(sent(payload), redact=redact)
    assert (found.payload, found.encoding, found.size) == ("", "none", len(payload))
    assert reason in found.hidden


async def test_topics_and_user_properties_are_bounded_and_lone_surrogates_harmless() -> None:
    user = tuple((f"{number}" + "n" * 1000, "\ud800" + "v" * 100_000) for number in range(40))
    found = await shown(sent(b"x", topic="\ud800" + "t" * 65_000, user=user))
    assert len(found.topic) <= 1027
    assert len(found.user_properties) == 16
    assert found.user_properties_left_out == 24
    assert all(len(name) <= 259 and len(text) <= 259 for name, text in found.user_properties)
