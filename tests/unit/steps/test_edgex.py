"""The step `edgex_event` takes an event out of the envelopes that EdgeX's versions have on their message buses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from support.steps import chain, message, shaped

EVENT: dict[str, Any] = {"deviceName": "pump", "readings": [{"resourceName": "rpm", "value": "1450"}]}
REQUEST = {"apiVersion": "v3", "requestId": "1", "event": EVENT}


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
