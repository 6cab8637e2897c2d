"""Properties of a publish, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter import Properties
from edgerouter.mqtt.properties import encode_properties, parse_properties

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
optional = st.none() | texts
some = st.builds(
    Properties,
    st.lists(st.tuples(texts, texts), max_size=5).map(tuple),
    optional,
    optional,
    st.none() | st.binary(max_size=200),
    st.none() | st.integers(0, 0xFFFF_FFFF),
    st.booleans(),
)


@given(some)
def test_encoded_properties_are_read_back_as_they_were(properties: Properties) -> None:
    data = encode_properties(properties)

    found, end, _, cut = parse_properties(data, 0, len(data))

    assert (found or Properties(), end, cut) == (properties, len(data), False)


def test_no_properties_are_a_length_of_zero() -> None:
    assert encode_properties(Properties()) == b"\x00"


def test_a_text_that_mqtt_cannot_carry_is_refused() -> None:
    with pytest.raises(OverflowError):
        encode_properties(Properties(user=(("name", "x" * 65_536),)))
