"""Steps that change what surrounds a document: topic, tags, envelope, parts, user properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message, shaped


def test_a_topic_is_rewritten_by_its_template_and_a_wildcard_in_it_refused() -> None:
    (item,) = chain({"type": "topic", "topic": "{host}/{topic[1:]}"}).apply([message(1)]).items
    assert item.message.topic == "box/m1/temp"
    steps = chain({"type": "topic", "topic": "{topic[7]}"})
    (item,) = steps.apply([message(1)]).items
    assert item.message.topic == "plant/m1/temp"
    assert steps.counted == {"1:topic": {"out of range": 1}}


def test_tags_are_added() -> None:
    tags = {"site": "north", "machine": "{topic[1]}", "meta.host": "{host}"}
    assert shaped({"type": "tags", "tags": tags}, {"v": 1}) == [{"v": 1, "site": "north", "machine": "m1", "meta": {"host": "box"}}]


def test_user_properties_are_added_behind_those_that_are_there() -> None:
    steps = chain(
        {"type": "user_properties", "properties": {"site": "{topic[0]}"}}, {"type": "user_properties", "properties": {"b": "c"}}
    )
    (item,) = steps.apply([message(1)]).items
    assert item.message.properties is not None
    assert item.message.properties.user == (("site", "plant"), ("b", "c"))


@pytest.mark.parametrize(
    ("payload", "name", "value"),
    [
        (b'{"v": 1.50}', "payload", {"v": 1.5}),
        (b"text", "payload", "text"),
        (b"\xff", "payload_base64", "/w=="),
        (b"", "payload", ""),
    ],
)
def test_an_envelope_holds_the_payload_as_what_it_is(payload: bytes, name: str, value: Any) -> None:
    (item,) = chain({"type": "envelope"}).apply([message(payload, 7, at=0.25)]).items
    assert json.loads(item.message.payload) == {
        "topic": "plant/m1/temp",
        "time": "2023-11-14T22:13:20.250000Z",
        "id": "spool-7",
        name: value,
    }


def test_a_cloud_event_has_what_the_specification_demands() -> None:
    step = {"type": "envelope", "format": "cloudevents", "event_type": "com.plant.{topic[2]}"}
    (item,) = chain({"type": "set", "fields": {"b": 2}}, step).apply([message({"a": 1}, 7)]).items
    assert json.loads(item.message.payload) == {
        "specversion": "1.0",
        "id": "spool-7",
        "source": "/edgerouter/box",
        "type": "com.plant.temp",
        "subject": "plant/m1/temp",
        "time": "2023-11-14T22:13:20.000000Z",
        "datacontenttype": "application/json",
        "data": {"a": 1, "b": 2},
    }
    (item,) = chain({"type": "envelope", "format": "cloudevents"}).apply([message(b"\xff")]).items
    event = json.loads(item.message.payload)
    assert (event["data_base64"], event["datacontenttype"]) == ("/w==", "application/octet-stream")


def test_a_list_becomes_messages_with_parts_behind_their_ids() -> None:
    found = chain({"type": "split", "field": "readings", "keep": ["device"]}).apply(
        [message({"device": "d", "readings": [{"v": 1}, {"v": 2}]}, 5)]
    )
    assert [(item.message.id, json.loads(item.message.payload)) for item in found.items] == [
        ("spool-5.1", {"v": 1, "device": "d"}),
        ("spool-5.2", {"v": 2, "device": "d"}),
    ]
    assert not found.filtered
    times = [item.message.received_at for item in found.items]
    assert times == sorted(set(times))


def test_parts_of_parts_and_an_empty_list() -> None:
    steps = chain({"type": "split"}, {"type": "split"})
    found = steps.apply([message([[1, 2], [], [3]], 5), message([], 6)])
    assert [(item.message.id, item.message.payload) for item in found.items] == [
        ("spool-5.1.1", b"1"),
        ("spool-5.1.2", b"2"),
        ("spool-5.3.1", b"3"),
    ]
    assert [each.sequence for each in found.filtered] == [6]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [({"a": 1}, "wrong type"), (b"x", "not JSON"), ([0] * 10_001, "too large")],
    ids=["object", "text", "long"],
)
def test_what_cannot_be_split_goes_on_whole(payload: Any, reason: str) -> None:
    steps = chain({"type": "split"})
    stored = message(payload)
    assert [item.message for item in steps.apply([stored]).items] == [stored]
    assert steps.counted == {"1:split": {reason: 1}}


def test_a_template_with_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown placeholder"):
        plugins.find("step", "topic").Config(topic="{payload[a]}")
