"""A listener takes a bounded rate, number and bytes, whatever passes and however slowly its client reads."""

from __future__ import annotations

from typing import Any

from edgerouter import Message
from edgerouter.admin.tap import listener
from edgerouter.admin.tap.listener import MOST_LOOKED_AT, MOST_REDACTED_BYTES, MOST_WAITING, MOST_WAITING_BYTES, Listener
from edgerouter.config.admin import TapConfig
from edgerouter.message import Properties
from edgerouter.pipeline.tap import itself
from support.pipeline import messages, until


class Watch:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def listening(topic: str = "#", **config: Any) -> tuple[Listener, Watch, list[int]]:
    clock, news = Watch(), list[int]()
    return Listener(topic, TapConfig.model_validate(config), lambda: news.append(1), clock), clock, news


async def test_only_topics_that_match_are_taken_and_missed() -> None:
    taking, _, news = listening("a/+")
    taking.look([*messages(2, topic="a/b"), *messages(3, topic="b/a")], itself)
    samples, missed = taking.take()
    assert [each.message.topic for each in samples] == ["a/b", "a/b"]
    assert missed == 0
    assert len(news) == 2


async def test_beyond_the_rate_messages_are_counted_and_a_second_later_there_are_more() -> None:
    taking, clock, _ = listening(max_messages_per_second=10)
    taking.look(messages(100), itself)
    samples, missed = taking.take()
    assert (len(samples), missed) == (10, 90)
    taking.look(messages(5), itself)
    assert taking.take() == ([], 5)
    clock.now = 0.5
    taking.look(messages(100), itself)
    samples, missed = taking.take()
    assert (len(samples), missed) == (5, 95)
    assert (taking.shown, taking.missed) == (15, 190)


async def test_a_list_is_looked_at_up_to_a_bound_and_the_rest_counts_as_missed() -> None:
    taking, _, _ = listening("b")
    taking.look([*messages(MOST_LOOKED_AT + 10, topic="a"), *messages(1, topic="b")], itself)
    assert taking.take() == ([], 11)


async def test_what_waits_for_a_slow_client_is_bounded_in_number() -> None:
    taking, clock, _ = listening(max_messages_per_second=1000)
    for second in range(10):
        clock.now = float(second)
        taking.look(messages(1000), itself)
    samples, missed = taking.take()
    assert len(samples) == MOST_WAITING
    assert missed == 10_000 - MOST_WAITING


async def test_what_waits_for_a_slow_client_is_bounded_in_bytes_and_keeps_no_large_payload_alive() -> None:
    taking, clock, _ = listening(max_messages_per_second=1000, preview_bytes=4096)
    user = tuple(("n" * 60_000, "v" * 60_000) for _ in range(50))
    for second in range(10):
        clock.now = float(second)
        taking.look([Message("t" * 65_535, bytes(1024**2), 1, properties=Properties(user=user))] * 100, itself)
    samples, missed = taking.take()
    held = sum(len(s.payload) + len(s.message.topic) + sum(len(a) + len(b) for a, b in s.properties) for s in samples)
    assert held <= MOST_WAITING_BYTES
    assert samples
    assert len(samples) + missed == 1000
    assert samples[0].size == 1024**2
    assert samples[0].left_out == 50 - listener.MOST_PROPERTIES
    assert not samples[0].message.payload


async def test_a_payload_that_is_to_be_searched_for_fields_is_taken_whole_or_not_at_all() -> None:
    taking, _, _ = listening(redact={"fields": ["pin"]})
    taking.look([Message("t", bytes(MOST_REDACTED_BYTES), 1), Message("t", bytes(MOST_REDACTED_BYTES + 1), 1)], itself)
    samples, _ = taking.take()
    assert [len(each.payload) for each in samples] == [MOST_REDACTED_BYTES, 0]


async def test_a_topic_is_redacted_by_what_is_stored_whatever_a_step_makes_of_it() -> None:
    taking, _, _ = listening(redact={"topics": ["secret/#"]})
    user = Properties(user=(("name", "value"),))
    renamed, plain = Message("open/a", b"x", 1, properties=user), Message("open/b", b"x", 1, properties=user)
    taking.look([renamed, plain], lambda message: [Message("secret/a", b"x", 1)] if message is renamed else [message])
    samples, _ = taking.take()
    assert [(each.hidden, each.payload, each.properties, each.left_out) for each in samples] == [
        (True, b"", (), 1),
        (False, b"x", (("name", "value"),), 0),
    ]


async def test_a_message_that_is_missed_is_reported_though_none_follows(monkeypatch: Any) -> None:
    monkeypatch.setattr(listener, "REPORT_SECONDS", 0.01)
    taking, _, news = listening(max_messages_per_second=1)
    taking.look(messages(5), itself)
    taking.take()
    news.clear()
    taking.look(messages(5), itself)
    await until(lambda: news)
    assert taking.take() == ([], 5)
    taking.look(messages(5), itself)
    taking.close()
