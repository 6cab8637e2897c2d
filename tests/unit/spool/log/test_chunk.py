"""A chunk finds the messages that a sink wants, whether topics repeat or not."""

from hypothesis import given
from hypothesis import strategies as st

from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk

FIRST = 1000
TOPICS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60)


def chunk(topics: list[str]) -> Chunk:
    return Chunk(FIRST, [Message(topic, b"", 0, sequence=FIRST + place) for place, topic in enumerate(topics)], {})


@given(topics=TOPICS, wanted=st.sets(st.sampled_from("abcdefgh")), start=st.integers(0, 60), length=st.integers(0, 70))
def test_many_readers_with_any_filters_and_ranges_get_what_each_wants_in_order(
    topics: list[str], wanted: set[str], start: int, length: int
) -> None:
    held = chunk(topics)
    for filters in (wanted, set("abcdefgh") - wanted):
        for low, high in ((FIRST, FIRST + len(topics)), (FIRST, held.end + 7), (FIRST + start, FIRST + start + length)):
            expected = [message for message in held.messages[low - FIRST : high - FIRST] if message.topic in filters]
            assert held.matching(filters.__contains__, low, high) == expected


def test_a_reader_looks_at_each_topic_once_where_topics_repeat() -> None:
    held, asked = chunk(["a", "b"] * 500), []

    def matches(topic: str) -> bool:
        asked.append(topic)
        return topic == "b"

    assert len(held.matching(matches, FIRST, held.end)) == 500
    assert sorted(asked) == ["a", "b"]
