"""The step `edgex_event` takes an event out of the envelopes that EdgeX's versions have on their message buses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from support.steps import chain, message, shaped

EVENT: dict[str, Any] = {"deviceName": "pump", "readings": [{"resourceName": "rpm", "value": "1450"}]}
REQUEST = {"apiVersion": "v3", "requestId": "1", "event": EVENT}


PICTURE = bytes.fromhex("a26a6465766963654e616d65")  # a map of two: "deviceName" ...
PICTURE += bytes.fromhex("6470756d70")  # ... "pump",
PICTURE += bytes.fromhex("6872656164696e677381a16b62696e61727956616c756543ffd8ff")  # "readings": [{"binaryValue": ff d8 ff}]
PICTURE_EVENT = {"deviceName": "pump", "readings": [{"binaryValue": "/9j/"}]}
"""As EdgeX's JSON has it."""


def in_base64(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "payload",
    [
        EVENT,
        REQUEST,
        {"apiVersion": "v3", "payload": REQUEST, "contentType": "application/json"},
        {"apiVersion": "v2", "payload": in_base64(REQUEST), "contentType": "application/json"},
        {"Checksum": "", "CorrelationID": "1", "Payload": in_base64(EVENT), "ContentType": "application/json"},
    ],
    ids=["bare", "request", "4", "2 and 3", "1.3"],
)
def test_the_event_alone_goes_on(payload: Any) -> None:
    assert shaped({"type": "edgex_event"}, payload) == [EVENT]


@pytest.mark.parametrize(
    "payload",
    [
        {"apiVersion": "v3", "payload": base64.b64encode(PICTURE).decode(), "contentType": "application/cbor"},
        {"CorrelationID": "1", "Payload": base64.b64encode(PICTURE).decode(), "ContentType": "application/cbor"},
    ],
    ids=["2 and later", "1.3"],
)
def test_an_event_with_binary_readings_becomes_the_json_that_edgex_exports(payload: Any) -> None:
    assert shaped({"type": "edgex_event"}, payload) == [PICTURE_EVENT]


@pytest.mark.parametrize("payload", [PICTURE, b"\xa1eevent" + PICTURE], ids=["bare", "request"])
def test_an_event_in_cbor_without_an_envelope_becomes_json(payload: bytes) -> None:
    """So EdgeX's trigger of external MQTT takes it."""
    assert shaped({"type": "edgex_event"}, payload) == [PICTURE_EVENT]


def test_damaged_cbor_goes_on_as_it_came_or_becomes_a_dead_letter() -> None:
    damaged = PICTURE[:-1]
    (passed,) = chain({"type": "edgex_event", "on_error": "pass"}).apply([message(damaged)]).items
    assert passed.message.payload == damaged
    ((_, said),) = chain({"type": "edgex_event", "on_error": "dead_letter"}).apply([message(damaged)]).rejected
    assert "not CBOR: it is cut off" in said


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"payload": "text!"}, "wrong type"),
        ({"payload": in_base64("text")}, "wrong type"),
        ({"payload": base64.b64encode(b"\xa1cbor").decode()}, "not JSON"),
        ({"event": {"deviceName": "pump"}}, "missing field"),
        ({"readings": 7}, "missing field"),
        ([EVENT], "wrong type"),
    ],
)
def test_what_holds_no_event_is_refused(payload: Any, reason: str) -> None:
    steps = chain({"type": "edgex_event", "on_error": "dead_letter"})
    ((_, said),) = steps.apply([message(payload)]).rejected
    assert reason in said
