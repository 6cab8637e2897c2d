"""Events of every shape are what an independent decoder reads, have the size that was expected, and fill no cache."""

from __future__ import annotations

import tracemalloc

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgerouter import Message, Properties
from edgerouter.testing import make_message
from edgerouter_azure.event_hubs.encoding import EventEncoder
from support.amqp.message import read_message

LONG = "x" * 30_000
LENGTHS = st.sampled_from([0, 1, 60, 100, 130, 160, 200, 254, 255, 256, 257, 70_000])
"""Either side of the lengths at which AMQP's short forms end, of a payload and of the whole event."""
TEXTS = st.builds(str.__mul__, st.sampled_from(["t", "\N{DEGREE SIGN}"]), st.sampled_from([1, 40, 127, 128, 240, 255, 300]))
MESSAGES = st.builds(
    Message,
    TEXTS,
    LENGTHS.map(bytes),
    st.integers(0, 2**62),
    st.integers(0, 2),
    st.booleans(),
    st.none() | st.builds(Properties, st.just((("unit", "K"),)), st.none() | st.just("text/plain"), st.none() | TEXTS),
    TEXTS,
    st.integers(1, 2**40),
    st.just("source"),
    st.sampled_from(["", ".2", "~160"]),
)


@given(st.lists(MESSAGES, min_size=1, max_size=5), st.none() | TEXTS.map(lambda text: text[:128]), st.booleans())
@example([Message("t", b"1", 0, spool="s" * (length - 2), sequence=1) for length in (255, 256)], "key", True)
@settings(deadline=None)
def test_events_hold_what_the_messages_hold_in_the_size_that_was_expected(
    messages: list[Message], key: str | None, attributes: bool
) -> None:
    encoder = EventEncoder(attributes=attributes, content_type="text/x")
    batch = encoder.batch(messages, key)
    assert len(batch) == len(encoder.batch([], key)) + sum(encoder.sizes_of(messages, key))
    events = [read_message(event) for event in read_message(batch).data]
    assert [b"".join(event.data) for event in events] == [message.payload for message in messages]
    for event, message in zip(events, messages, strict=True):
        said = event.properties
        assert (said["message-id"], said["creation-time"]) == (message.id, message.received_at // 1_000_000)
        assert said["content-type"] == ((message.properties and message.properties.content_type) or "text/x")
        assert said.get("reply-to") == (message.properties and message.properties.response_topic)
        assert event.annotations.get("x-opt-partition-key") == key
        names = event.application_properties
        assert not attributes or (names["topic"], names["qos"], names["retained"]) == (message.topic, message.qos, message.retained)


def test_long_topics_and_properties_are_not_remembered() -> None:
    encoder = EventEncoder(attributes=True, content_type=None)
    tracemalloc.start()
    for number in range(1, 2000):
        properties = Properties(user=(("site", f"{number}{LONG}"),), correlation_data=b"%d" % number + bytes(30_000))
        message = make_message(b"1", topic=f"{number}/{LONG}", sequence=number, properties=properties)
        assert encoder.sizes_of([message], f"key-{number}")[0] > 90_000
        encoder.batch([message], f"key-{number}")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 4 * 1024**2


def test_what_many_messages_share_is_made_once() -> None:
    encoder = EventEncoder(attributes=True, content_type=None)
    events = [encoder.batch([make_message(b"1", sequence=number)]) for number in (1, 2)]
    assert events[0] != events[1]
    assert len(encoder._shared) == 1
