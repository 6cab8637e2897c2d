"""A topic that stays silent is raised after a whole period in which it could have come, and cleared when it comes."""

from __future__ import annotations

import asyncio
import time
import tracemalloc

import msgspec
import pytest
import structlog

from edgerouter.message import Message
from edgerouter.pipeline.silence import FORGET_SECONDS, MOST_TOPICS, Silence
from edgerouter.step import StepState
from edgerouter.telemetry.events import Events
from support.pipeline import until


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """A silence watch, looked at every ten seconds."""

    def __init__(self, expect: dict[str, float], state: StepState | None = None) -> None:
        self.clock, self.state = Clock(), state or StepState()
        self.silence = Silence("in", expect, self.state, self.clock)

    def hear(self, *topics: str, retained: bool = False) -> None:
        self.silence.heard([Message(topic, b"", 1, retained=retained) for topic in topics])

    def wait(self, seconds: float, *, connected: bool = True) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 10)
            self.silence.look(connected=connected)

    @property
    def silent(self) -> list[str]:
        return [each.topic for each in self.silence.status.topics]


def test_a_device_that_stops_is_raised_after_its_period_and_cleared_when_it_is_heard() -> None:
    watch = Watch({"plant/+/temp": 60})
    watch.hear("plant/1/temp", "plant/2/temp", "office/temp")
    watch.wait(50)
    watch.hear("plant/2/temp")
    assert watch.silent == []
    with structlog.testing.capture_logs() as lines:
        watch.wait(20)
        assert watch.silent == ["plant/1/temp"]
        watch.hear("plant/1/temp", "plant/2/temp")
        watch.wait(10)
    assert watch.silent == []
    assert [(line["event"], line["topic"]) for line in lines] == [
        ("device is silent", "plant/1/temp"),
        ("device is heard again", "plant/1/temp"),
    ]
    assert watch.silence.status.expected == 2


def test_silence_and_its_end_are_events_that_name_some_of_the_topics() -> None:
    clock, events = Clock(), Events()
    watched = Silence("in", {"a/+": 60}, StepState(), clock, events=events)
    heard = [Message(f"a/{number}", b"", 1) for number in range(5)]
    for message in heard:
        watched.heard([message])
    clock.now += 70
    watched.look(connected=True)
    watched.heard(heard[:1])
    watched.look(connected=True)
    assert [(event.subject, event.level, event.text) for event in events.after(0).events] == [
        ("in", "warning", "silent: a/0, a/1, a/2 and 2 more"),
        ("in", "info", "heard again: a/0"),
    ]


def test_a_topic_that_never_came_is_raised_and_so_is_a_filter_for_which_nothing_came() -> None:
    watch = Watch({"plant/1/temp": 60, "cellar/#": 60})
    watch.wait(50)
    assert watch.silent == []
    watch.wait(20)
    assert watch.silent == ["plant/1/temp", "cellar/#"]
    watch.hear("cellar/pump")
    watch.wait(10)
    assert watch.silent == ["plant/1/temp"]


def test_a_retained_message_does_not_count_as_a_sign_of_life() -> None:
    watch = Watch({"a": 60})
    watch.wait(50)
    watch.hear("a", retained=True)
    watch.wait(20)
    assert watch.silent == ["a"]


def test_of_several_filters_the_shortest_time_counts() -> None:
    watch = Watch({"#": 600, "plant/#": 60, "plant/1": 300})
    watch.hear("plant/1", "plant/2", "x")
    watch.wait(70)
    assert sorted(watch.silent) == ["plant/1", "plant/2"]


async def test_a_router_that_starts_knows_the_devices_and_waits_a_whole_period() -> None:
    before = Watch({"plant/#": 60, "named": 60})
    before.hear("plant/1", "plant/2")
    await before.silence.save()
    after = Watch({"plant/#": 60, "named": 60}, before.state)
    after.wait(60)
    assert after.silent == []
    after.hear("plant/2", "named")
    after.wait(10)
    assert after.silent == ["plant/1"]


async def test_a_topic_that_is_expected_no_longer_is_not_watched_after_a_restart() -> None:
    before = Watch({"plant/#": 60})
    before.hear("plant/1")
    await before.silence.save()
    after = Watch({"cellar/#": 60}, before.state)
    after.wait(100)
    assert after.silent == ["cellar/#"]


@pytest.mark.parametrize("content", [b"x", b"{}", b"[1]", b"\xff"])
def test_a_damaged_file_names_no_device(content: bytes) -> None:
    state = StepState()
    state.save(content)
    assert Watch({"#": 60}, state).silence.status.expected == 1


def test_while_the_source_is_not_connected_nothing_is_silent() -> None:
    watch = Watch({"a": 60})
    watch.wait(1000, connected=False)
    watch.wait(50)
    assert watch.silent == []
    watch.wait(20)
    assert watch.silent == ["a"]


def test_a_device_that_is_gone_is_forgotten_after_a_week_and_one_in_the_configuration_never() -> None:
    watch = Watch({"plant/#": 3600, "named": 3600})
    watch.hear("plant/1")
    watch.clock.now += 4000
    watch.silence.look(connected=True)
    watch.clock.now += FORGET_SECONDS
    watch.silence.look(connected=True)
    assert watch.silent == ["named"]


def test_a_million_invented_topics_are_bounded_in_memory_and_counted() -> None:
    watch = Watch({"#": 60})
    tracemalloc.start()
    try:
        for start in range(0, 15_000, 1000):
            watch.hear(*(f"invented/{number}" for number in range(start, start + 1000)))
        watch.hear(*("x" * 60_000 + str(number) for number in range(100)))
        assert tracemalloc.get_traced_memory()[0] < 12_000_000
    finally:
        tracemalloc.stop()
    with structlog.testing.capture_logs() as lines:
        watch.wait(70)
    status = watch.silence.status
    assert status.expected == status.silent == MOST_TOPICS
    assert status.untracked >= 5000
    assert len(status.topics) == 20
    assert len(lines) == 21


def test_noting_a_delivery_costs_little() -> None:
    watch = Watch({"plant/#": 60})
    delivery = [Message(f"plant/{number % 100}", b"", 1) for number in range(1000)]
    watch.silence.heard(delivery)
    began = time.process_time()
    for _ in range(100):
        watch.silence.heard(delivery)
    assert (time.process_time() - began) / 100_000 < 1e-6


async def test_a_watch_looks_by_itself_and_keeps_the_topics_when_it_ends() -> None:
    state = StepState()
    watched = Silence("in", {"a/+": 0.2}, state)
    async with watched.watching(lambda: True):
        watched.heard([Message("a/1", b"", 1), Message("a/2", b"", 1)])
        await until(lambda: watched.status.silent == 2)
        await asyncio.sleep(0)
    assert sorted(msgspec.json.decode(state.content)) == ["a/1", "a/2"]
