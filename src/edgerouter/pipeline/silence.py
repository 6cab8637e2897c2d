"""Silent devices: topics that should bring a message within a time, and have not.

A filter without wildcards is one topic, expected from the start. With wildcards it stands for the topics that have come so far;
they are kept over restarts in a small file. Every clock starts anew when the router starts and when the source connects, so a topic
is silent only after a whole period in which it could have come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
import structlog

from edgerouter.message import Message
from edgerouter.step import StepState
from edgerouter.telemetry.events import Events
from edgerouter.topic_cache import TopicCache, key_weight
from edgerouter.topics import Matcher, matches

MOST_TOPICS: Final = 10_000
"""Topics of a source whose silence is noticed."""
MOST_BYTES: Final = 1024**2
"""Bytes of all of them."""
FORGET_SECONDS: Final = 7 * 86_400.0
"""Silence after which a topic that wildcards stand for is forgotten: the device is gone."""
_MOST_SHOWN: Final = 20
"""Topics that the log shows at one look, and the status."""
_MOST_CHARACTERS: Final = 200
_SAVE_SECONDS: Final = 60.0

log = structlog.get_logger("edgerouter.silence")


class SilentTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic without the message that was expected."""

    topic: str
    """Truncated to 200 characters; a filter while no topic that it stands for has come."""
    seconds: float
    """Since its last message, or since the router could receive one."""
    expected_seconds: float
    """Longest time that the configuration allows between two messages."""


class SilenceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Topics that `expect` of a source is about."""

    expected: int = 0
    """Topics known."""
    silent: int = 0
    """Those without a message in time."""
    untracked: int = 0
    """Looks that found a topic beyond the bound, which is not watched; since the start."""
    topics: list[SilentTopic] = []
    """Silent ones, at most 20."""


class _Topic:
    """A topic that should bring messages."""

    __slots__ = ("heard", "period", "silent", "stays", "text")

    def __init__(self, text: str, period: float, heard: float, *, stays: bool) -> None:
        self.text, self.period, self.heard = text, period, heard
        self.silent = False
        self.stays = stays
        """It is in the configuration, and never forgotten."""


class Silence:
    """Watches the topics of one source.

    Args:
        source: name of the source.
        expect: longest time between two messages, by topic filter.
        state: keeps the topics that wildcards stand for.
        clock: monotonic seconds.
        events: gets an event for each look that finds a change.
    """

    def __init__(
        self,
        source: str,
        expect: Mapping[str, float],
        state: StepState,
        clock: Callable[[], float] = time.monotonic,
        *,
        events: Events | None = None,
    ) -> None:
        self._source, self._expect, self._state, self._clock = source, expect, state, clock
        self._events = events
        self._since = clock()
        self._topics: dict[str, _Topic] = {}
        self._bytes = 0
        self._untracked = 0
        self._changed = False
        self._saved = clock()
        self._is_expected = Matcher(expect)
        self._cache: TopicCache[str, _Topic | None] = TopicCache(self._find, weigh=key_weight)
        for topic_filter, period in expect.items():
            self._add(topic_filter, min(self._periods(topic_filter), default=period), stays=True)
        with suppress(msgspec.MsgspecError):
            for topic in msgspec.json.decode(state.content or b"[]", type=list[str])[:MOST_TOPICS]:
                self._find(topic)
        self._changed = False

    def heard(self, messages: Iterable[Message]) -> None:
        """Note the topics of a delivery: one look for each topic. Retained messages are old, and say nothing about a device."""
        now, cache = self._clock(), self._cache
        for name in {message.topic for message in messages if not message.retained}:
            topic = cache[name]
            if topic is not None:
                topic.heard = now

    @property
    def status(self) -> SilenceStatus:
        """Numbers, and some of the silent topics."""
        now = self._clock()
        silent = [topic for topic in self._topics.values() if topic.silent]
        return SilenceStatus(
            expected=len(self._topics),
            silent=len(silent),
            untracked=self._untracked,
            topics=[
                SilentTopic(
                    topic=topic.text[:_MOST_CHARACTERS],
                    seconds=round(now - max(topic.heard, self._since), 1),
                    expected_seconds=topic.period,
                )
                for topic in silent[:_MOST_SHOWN]
            ],
        )

    @asynccontextmanager
    async def watching(self, connected: Callable[[], bool]) -> AsyncIterator[None]:
        """Look at intervals until left.

        Args:
            connected: returns True while the source could receive.
        """
        task = asyncio.create_task(self._watch(connected), name=f"watch for silence {self._source}")
        try:
            yield
        finally:
            task.cancel()
            await self.save()

    async def _watch(self, connected: Callable[[], bool]) -> None:
        seconds = min(30.0, max(0.1, min(self._expect.values()) / 4))
        while True:
            await asyncio.sleep(seconds)
            self.look(connected=connected())
            if self._changed and self._clock() - self._saved >= _SAVE_SECONDS:
                await self.save()

    def look(self, *, connected: bool) -> None:
        """Raise what is silent now, and clear what has come again."""
        now = self._clock()
        if not connected:
            self._since = now  # nothing could come
        raised, cleared, gone = [], [], []
        for topic in self._topics.values():
            quiet = now - max(topic.heard, self._since)
            if topic.silent and topic.heard > now - topic.period:
                topic.silent = False
                cleared.append(topic)
            elif not topic.silent and quiet > topic.period:
                topic.silent = True
                raised.append(topic)
            elif topic.silent and quiet > FORGET_SECONDS and not topic.stays:
                gone.append(topic)
        for topic in gone:
            self._remove(topic.text)
        if gone:
            self._cache.clear()  # topics beyond the bound have room now
        self._report(raised, cleared, gone)

    async def save(self) -> None:
        """Keep the topics that wildcards stand for."""
        if self._changed:
            self._changed, self._saved = False, self._clock()
            content = msgspec.json.encode([text for text, topic in self._topics.items() if not topic.stays])
            await asyncio.to_thread(self._state.save, content)

    def _find(self, name: str) -> _Topic | None:
        """Return the topic of that name, which wildcards may stand for; `None` for one that is not watched."""
        if name in self._topics:
            return self._topics[name]
        if not self._is_expected(name):
            return None
        if len(self._topics) >= MOST_TOPICS or self._bytes + len(name) * 4 > MOST_BYTES:
            self._untracked += 1
            return None
        for text in self._expect:
            if text in self._topics and matches(text, name):
                self._remove(text)  # the filter stood for itself while there was no topic
        self._changed = True
        return self._add(name, min(self._periods(name)), stays=False)

    def _periods(self, name: str) -> list[float]:
        return [period for text, period in self._expect.items() if matches(text, name)]

    def _add(self, text: str, period: float, *, stays: bool) -> _Topic:
        topic = self._topics[text] = _Topic(text, period, self._since, stays=stays)
        self._bytes += len(text) * 4
        return topic

    def _remove(self, text: str) -> None:
        if self._topics.pop(text, None) is not None:
            self._bytes -= len(text) * 4
            self._changed = True

    def _report(self, raised: Sequence[_Topic], cleared: Sequence[_Topic], gone: Sequence[_Topic]) -> None:
        if self._events is not None and raised:
            self._events.add("source", self._source, f"silent: {_named(raised)}", level="warning", state="silent")
        if self._events is not None and cleared:
            self._events.add("source", self._source, f"heard again: {_named(cleared)}")
        for topic in raised[:_MOST_SHOWN]:
            log.warning(
                "device is silent",
                source=self._source,
                topic=topic.text[:_MOST_CHARACTERS],
                expected_seconds=topic.period,
                next="look at the device, its power and its network",
            )
        for topic in cleared[:_MOST_SHOWN]:
            log.info("device is heard again", source=self._source, topic=topic.text[:_MOST_CHARACTERS])
        for topic in gone[:_MOST_SHOWN]:
            log.info("silent device is forgotten", source=self._source, topic=topic.text[:_MOST_CHARACTERS])
        more = [max(0, len(topics) - _MOST_SHOWN) for topics in (raised, cleared, gone)]
        if any(more):
            log.warning("more devices have changed", source=self._source, silent=more[0], heard_again=more[1], forgotten=more[2])


def _named(topics: Sequence[_Topic]) -> str:
    more = f" and {len(topics) - 3} more" if len(topics) > 3 else ""
    return ", ".join(topic.text[:_MOST_CHARACTERS] for topic in topics[:3]) + more
