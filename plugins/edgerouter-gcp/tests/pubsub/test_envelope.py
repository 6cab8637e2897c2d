"""A Pub/Sub message's JSON: complete, as small as counted beforehand, and within every limit."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgerouter import Message, MessageTemplate, Properties, Rejected
from edgerouter.testing import make_context, make_message
from edgerouter_gcp.pubsub.envelope import Attribute, Envelope
from edgerouter_gcp.pubsub.sink import PubsubConfig

EVERYTHING: tuple[Attribute, ...] = ("id", "topic", "time", "retained", "properties")


def decoded(
    message: Message, *, attributes: tuple[Attribute, ...] = EVERYTHING, key: str = "", **constant: str
) -> dict[str, object]:
    return dict(json.loads(Envelope(attributes, constant).encode(message, key)))


def test_a_message_says_what_it_is_where_it_is_from_and_when() -> None:
    message = make_message(b"21.5", topic="plant/größe", sequence=7, retained=True)
    assert decoded(message, key="k", site="plant-7") == {
        "data": base64.b64encode(b"21.5").decode(),
        "attributes": {
            "site": "plant-7",
            "topic": "plant/größe",
            "id": "5p00l-7",
            "time": "2026-11-20T10:00:00.130456Z",
            "retained": "true",
        },
        "orderingKey": "k",
    }


def test_user_properties_travel_under_their_names_unless_the_name_is_taken() -> None:
    properties = Properties(
        user=(("device", "a"), ("device", "b"), ("topic", "mine"), ("google", "x"), ("", "nameless")),
        content_type="text/plain",
        response_topic="r",
        correlation_data=b"\x00",
    )
    attributes = decoded(make_message(properties=properties), attributes=("properties",))["attributes"]
    assert attributes == {
        "device": "a,b",
        "user_topic": "mine",
        "user_google": "x",
        "user_": "nameless",
        "content_type": "text/plain",
        "response_topic": "r",
        "correlation_data": "AA==",
    }


def test_only_the_attributes_asked_for_are_sent() -> None:
    message = make_message(properties=Properties(user=(("a", "b"),)), retained=True)
    for attribute in get_args(Attribute):
        names = decoded(message, attributes=(attribute,))["attributes"]
        assert names in ({"a": "b"}, {attribute: names.get(attribute)})  # type: ignore[attr-defined]
    assert decoded(message, attributes=())["attributes"] == {}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (make_message(topic="x" * 1025), "topic is longer"),
        (make_message(topic="ü" * 513), "topic is longer"),
        (make_message(properties=Properties(user=(("k" * 257, "v"),))), "name is not of 1 to 256"),
        (make_message(properties=Properties(user=(("k", "v" * 1025),))), "over Pub/Sub's 1024"),
        (make_message(properties=Properties(user=tuple((f"k{n}", "v") for n in range(100)))), "100 attributes"),
    ],
)
def test_what_pubsub_would_refuse_is_rejected_with_the_reason(message: Message, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        Envelope(EVERYTHING, {}).encode(message, "")


@pytest.mark.parametrize("retained", [False, True])
def test_a_message_may_have_all_the_attributes_that_pubsub_takes(*, retained: bool) -> None:
    """Our own are counted only where they are sent."""
    ours = 3 + retained + 1
    full = make_message(properties=Properties(user=tuple((f"k{n}", "v") for n in range(100 - ours))), retained=retained)
    attributes = decoded(full, site="plant-7")["attributes"]
    assert isinstance(attributes, dict)
    assert len(attributes) == 100
    over = make_message(properties=Properties(user=tuple((f"k{n}", "v") for n in range(101 - ours))), retained=retained)
    with pytest.raises(Rejected, match="100 attributes"):
        decoded(over, site="plant-7")


def test_a_message_with_neither_payload_nor_attributes_is_rejected() -> None:
    with pytest.raises(Rejected, match="neither a payload nor attributes"):
        Envelope((), {}).encode(make_message(b""), "")


def test_an_ordering_key_that_is_too_long_is_rejected() -> None:
    with pytest.raises(Rejected, match="ordering key"):
        Envelope(EVERYTHING, {}).encode(make_message(), "k" * 1025)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


messages = st.builds(
    Message,
    topic=text.filter(bool),
    payload=st.binary(max_size=100),
    received_at=st.integers(0, 4_000_000_000 * 10**9),
    retained=st.booleans(),
    properties=st.none() | st.builds(Properties, user=st.lists(st.tuples(text, text), max_size=4).map(tuple)),
    spool=st.just("spool"),
    sequence=st.integers(1, 10**12),
)


@settings(max_examples=200, deadline=None)
@given(message=messages, key=text, attributes=st.sets(st.sampled_from(EVERYTHING)))
def test_the_size_counted_beforehand_is_never_too_small(message: Message, key: str, attributes: set[Attribute]) -> None:
    envelope = Envelope(attributes, {"site": "ß"})
    encoded = envelope.encode(message, key)
    with_comma = len(encoded) + 1
    assert with_comma <= envelope.size_of(message, key) <= with_comma + 1
    assert base64.b64decode(json.loads(encoded)["data"]) == message.payload


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{topic}", "plant/line-1/temperature"),
        ("{topic[1]}", "line-1"),
        ("{topic[-1]}", "temperature"),
        ("{topic[:2]}", "plant/line-1"),
        ("{topic[9]}", ""),
        ("{host}:{topic[0]}", "edge-1:plant"),
        ("{property[device]}", "d-1"),
        ("{property[missing]}", ""),
        ("{{{sink}}}", "{conformance}"),
        ("all", "all"),
    ],
)
def test_an_ordering_key_is_made_from_a_template(template: str, key: str) -> None:
    message = make_message(properties=Properties(user=(("device", "d-1"),)))
    assert MessageTemplate(template, make_context()).of(message) == key


@pytest.mark.parametrize("wrong", ["{topik}", "{topic[x]}", "{", "{property}", "{host[0]}"])
def test_a_wrong_ordering_key_template_is_found_when_the_configuration_is_read(wrong: str) -> None:
    with pytest.raises(ValidationError, match="ordering_key"):
        PubsubConfig(topic="t", ordering_key=wrong)


@pytest.mark.parametrize(("labels", "reason"), [({"id": "x"}, "taken"), ({"googx": "x"}, "taken"), ({"a": "x" * 1025}, "1024")])
def test_labels_that_pubsub_would_refuse_are_found_when_the_configuration_is_read(labels: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PubsubConfig(topic="t", labels=labels)


def test_long_topics_keys_and_properties_are_not_remembered() -> None:
    envelope = Envelope(EVERYTHING, {})
    ordering = MessageTemplate("{topic}", make_context())
    long = "x" * 30_000
    tracemalloc.start()
    for number in range(1, 2000):
        properties = Properties(user=(("site", f"{number}{long}"),), correlation_data=b"%d" % number + bytes(30_000))
        message = make_message(b"1", topic=f"{number}/{long}", sequence=number, properties=properties)
        assert envelope.size_of(message, ordering.of(message)) > 90_000
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 4 * 1024**2
