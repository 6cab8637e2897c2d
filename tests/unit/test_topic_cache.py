"""Caches by topic are bounded in bytes, whatever topics devices invent.

Covers also: edgerouter.receiving.topic.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgerouter import Message, SinkContext
from edgerouter.message import Properties
from edgerouter.objects import KeyTemplate, size_of
from edgerouter.pipeline.routing import Routing
from edgerouter.receiving import ReceivedTopic, TopicSource
from edgerouter.topic_cache import TopicCache, weight
from edgerouter.topics import Matcher, first_level

LONG = "x" * 60_000


@contextmanager
def grows_by_less_than(most: int) -> Iterator[None]:
    """Check the memory held at the end beyond that held at the beginning."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[0] < most
    finally:
        tracemalloc.stop()


def test_a_known_key_is_not_made_again() -> None:
    made: list[str] = []

    def make(topic: str) -> str:
        made.append(topic)
        return topic.upper()

    cache = TopicCache(make)
    assert [cache["a/b"], cache["a/b"], cache["c"]] == ["A/B", "A/B", "C"]
    assert made == ["a/b", "c"]


def test_a_long_key_gets_its_value_and_is_not_remembered() -> None:
    cache: TopicCache[str, int] = TopicCache(len)
    assert cache[LONG] == 60_000
    assert not cache


def test_the_entries_together_stay_below_the_bound_in_bytes() -> None:
    cache = TopicCache(str.upper, most_bytes=100_000)
    with grows_by_less_than(150_000):
        for number in range(5000):
            cache[f"{number:0>500}"]
    assert cache, "it starts over and goes on remembering"


def test_an_exception_of_make_passes_and_leaves_nothing() -> None:
    cache: TopicCache[str, int] = TopicCache(int)
    with pytest.raises(ValueError, match="invalid literal"):
        cache["no number"]
    assert not cache


def test_what_a_struct_and_a_tuple_hold_counts() -> None:
    assert weight(Properties(user=(("name", LONG),))) > 60_000


@pytest.mark.parametrize("kind", ["matcher", "routing", "key", "partition", "size", "received"])
def test_thousands_of_long_topics_cost_no_memory(kind: str) -> None:
    """30,000 topics of 60 KB brought a router to 2,148 MB."""
    template = KeyTemplate.parse("{topic}/{id}")
    names = SinkContext("sink", "host", "spool", 1.0)
    uses: dict[str, Callable[[str], object]] = {
        "matcher": Matcher(("#",)),
        "routing": lambda topic: Routing({"a": Matcher(("#",))}).wanted([_message(topic)]),
        "key": lambda topic: template.key_of([_message(topic)], names),
        "partition": lambda topic: template.partition_of(_message(topic), names),
        "size": lambda topic: size_of(_message(topic), "jsonl"),
        "received": lambda topic: ReceivedTopic("{topic}", TopicSource("place", "source", "host")).of({"topic": topic}),
    }
    use = uses[kind]
    use("warm")
    kept = []
    with grows_by_less_than(3 * 1024**2):
        for number in range(300):
            answer = use(f"{number}{LONG}")
            if kind == "partition":
                kept.append(answer)  # the batches being filled keep it


def test_long_partitions_stay_apart() -> None:
    template = KeyTemplate.parse("{topic}/{id}")
    names = SinkContext("sink", "host", "spool", 1.0)
    partitions = {template.partition_of(_message(LONG + str(number)), names) for number in range(100)}
    assert len(partitions) == 100


def test_a_label_holds_the_beginning_of_a_long_first_level() -> None:
    assert first_level("plant/line/x") == "plant"
    assert first_level(LONG) == "x" * 64 + "..."
    assert first_level(first_level(LONG)) == first_level(LONG)


def _message(topic: str) -> Message:
    return Message(topic, b"{}", 1_700_000_000 * 10**9, spool="spool", sequence=1)
