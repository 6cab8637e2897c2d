"""Deliveries become chunks that say how many of their messages each sink wants."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.log.chunk import MAX_MESSAGES
from edgerouter.spool.log.grouping import Append, counts, group

MATCHERS = {1: "ab".__contains__, 2: "c".__contains__, 3: "xyz".__contains__, 4: "abcd".__contains__}


@given(st.lists(st.sampled_from("abcd"), max_size=50))
def test_sinks_are_counted_by_topic_and_those_that_want_none_are_left_out(topics: list[str]) -> None:
    expected = {key: sum(map(matches, topics)) for key, matches in MATCHERS.items()}
    counted = counts([Message(topic, b"", 0) for topic in topics], MATCHERS)
    assert counted == {key: count for key, count in expected.items() if count}


@pytest.mark.parametrize("size", [1, MAX_MESSAGES, MAX_MESSAGES + 1, 3 * MAX_MESSAGES + 7])
async def test_the_counts_of_the_chunks_of_a_delivery_add_up_to_its_own(size: int) -> None:
    messages = [Message("abcd"[place % 7 % 4], b"", 0) for place in range(size)]
    wanted = counts(messages, MATCHERS)
    append = Append("s", Delivery(messages, lambda: None), wanted, 0, 0, asyncio.get_running_loop().create_future())
    chunks = group([append], MATCHERS)
    assert [message for chunk in chunks for message in chunk.messages] == messages
    added: Counter[int] = Counter()
    for chunk in chunks:
        assert len(chunk.messages) <= MAX_MESSAGES
        added.update(chunk.wanted)
    assert added == Counter(wanted)
