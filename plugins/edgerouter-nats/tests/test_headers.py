"""Properties travel in headers and come back, and no value of theirs becomes a header that the server acts upon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edgerouter import Properties, Rejected
from edgerouter.testing import make_message
from edgerouter_nats.headers import MOST_USER_PROPERTIES, Headers, ReceivedProperties, carries_id_of, properties_of, received

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PROPERTIES = st.builds(
    Properties,
    user=st.lists(st.tuples(TEXT | st.sampled_from(["Nats-Rollup", "content-type", "a", "Edgerouter-Id"]), TEXT), max_size=5).map(
        tuple
    ),
    content_type=st.none() | TEXT,
    response_topic=st.none() | TEXT,
    correlation_data=st.none() | st.binary(max_size=20),
)


@given(PROPERTIES, st.booleans())
def test_properties_come_back_from_their_headers_in_order(properties: Properties, retained: bool) -> None:
    message = structs.replace(make_message(), properties=properties, retained=retained)
    headers = Headers(b"Nats-Expected-Stream: plant\r\n").of(message)
    back, was_retained = properties_of(received(headers))
    assert was_retained is retained
    remembered = ReceivedProperties()
    assert remembered.of(headers) == remembered.of(headers) == (back, was_retained)
    assert (back or Properties()) == properties
    assert len(headers) == Headers(b"Nats-Expected-Stream: plant\r\n").size_of(message)


@given(PROPERTIES)
def test_a_message_adds_no_header_that_the_server_acts_upon(properties: Properties) -> None:
    headers = Headers().of(structs.replace(make_message(), properties=properties))
    acted_upon = [line for line in headers.split(b"\r\n") if line.lower().startswith((b"nats-", b"kv-"))]
    assert acted_upon == [b"Nats-Msg-Id: 5p00l-1"]
    assert b"\n" not in headers.replace(b"\r\n", b"")
    assert b"\r" not in headers.replace(b"\r\n", b"")


def test_headers_that_no_stream_takes_are_rejected() -> None:
    large = Properties(tuple(("name", "v" * 1000) for _ in range(70)))
    with pytest.raises(Rejected, match="65535"):
        Headers().of(structs.replace(make_message(), properties=large))


def test_of_very_many_headers_those_beyond_the_bound_are_cut_off() -> None:
    headers = b"NATS/1.0\r\n" + b"a: b\r\n" * 100_000 + b"\r\n"
    properties, _ = properties_of(received(headers))
    assert properties is not None
    assert len(properties.user) == MOST_USER_PROPERTIES


@pytest.mark.parametrize("headers", [b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n"])
def test_a_message_without_headers_has_no_properties(headers: bytes) -> None:
    assert properties_of(received(headers)) == (None, False)


def test_headers_of_others_become_user_properties() -> None:
    properties, _ = properties_of(received(b"NATS/1.0\r\nunit:C\r\nNats-Sequence: 5\r\nContent-Type: text/plain\r\n\r\n"))
    assert properties == Properties((("unit", "C"),), "text/plain")


def test_correlation_data_of_others_may_be_text() -> None:
    properties, _ = properties_of([("Edgerouter-Correlation-Data", "*plain*")])
    assert properties is not None
    assert properties.correlation_data == b"*plain*"


def test_a_router_knows_its_own_messages_by_their_id() -> None:
    headers = Headers().of(make_message())
    assert carries_id_of("5p00l")(headers)
    assert not carries_id_of("5p00")(headers)


@pytest.mark.parametrize(
    "headers", [b"", b"NATS/1.0", b"NATS/1.0\r\nNats-Msg-Id: a", b"NATS/1.0\r\nNats-Msg-Id: a\r\nx", b"x\r\n\r\n"]
)
def test_broken_headers_hold_no_properties(headers: bytes) -> None:
    assert ReceivedProperties().of(headers) == (None, False)
