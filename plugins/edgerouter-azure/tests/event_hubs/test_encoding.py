"""The cache of the event encoder is bounded in bytes, whatever devices send."""

from __future__ import annotations

import tracemalloc

from edgerouter import Properties
from edgerouter.testing import make_message
from edgerouter_azure.event_hubs.encoding import EventEncoder

LONG = "x" * 30_000


def test_long_topics_and_properties_are_not_remembered() -> None:
    encoder = EventEncoder(attributes=True, content_type=None)
    tracemalloc.start()
    for number in range(1, 2000):
        properties = Properties(user=(("site", f"{number}{LONG}"),), correlation_data=b"%d" % number + bytes(30_000))
        message = make_message(b"1", topic=f"{number}/{LONG}", sequence=number, properties=properties)
        assert encoder.size_of(message, f"key-{number}") > 90_000
        encoder.encode(message, f"key-{number}")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 4 * 1024**2


def test_what_many_messages_share_is_made_once() -> None:
    encoder = EventEncoder(attributes=True, content_type=None)
    events = [encoder.encode(make_message(b"1", sequence=number)) for number in (1, 2)]
    assert events[0] != events[1]
    assert len(encoder._shared) == 1
