"""Properties of a received message come from its attributes."""

from __future__ import annotations

from edgerouter import Properties
from edgerouter.receiving import received_properties


def test_a_message_without_any_has_none() -> None:
    assert received_properties({"topic": "a/b", "qos": "1"}, (), None) is None


def test_each_property_is_taken_from_where_the_sinks_put_it() -> None:
    attributes = {"content_type": "text/plain", "response_topic": "reply", "unit": "bar"}
    expected = Properties(user=(("unit", "bar"),), content_type="text/plain", response_topic="reply", correlation_data=b"\x00\xff")
    assert received_properties(attributes, (("unit", "bar"),), b"\x00\xff") == expected
