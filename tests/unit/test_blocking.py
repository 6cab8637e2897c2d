"""A sink that declares `blocking` runs in a separate thread, from opening to closing, and delays no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import pytest

from edgerouter import Failure, Limits, Message, Outcome, Rejected, Sink, SinkConfig, Unavailable
from edgerouter.blocking import SinkOpener
from edgerouter.testing import make_context, make_message, make_messages
from support.pipeline import ListReader, configured, messages, running, until

PATIENCE = 60


class Synchronous(Sink[SinkConfig]):
    """Blocks on its events, and records the threads that it ran in."""

    blocking = True
    threads: ClassVar[set[str]]
    gate: ClassVar[threading.Event]
    opening: ClassVar[threading.Event]
    writes: ClassVar[list[int]]
    closed: ClassVar[int]
    failure: ClassVar[Exception | None]

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Any, context: Any) -> AsyncIterator[Self]:
        cls.opening.wait(PATIENCE)
        cls.threads.add(threading.current_thread().name)
        # task groups and timeouts must be left by the task that entered them
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup():
            yield cls()
        cls.threads.add(threading.current_thread().name)
        cls.closed += 1

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=10)

    def size_of(self, message: Message) -> int:
        return 7

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        self.threads.add(threading.current_thread().name)
        self.gate.wait(PATIENCE)
        await asyncio.sleep(0)
        self.writes.append(len(batch))
        if self.failure is not None:
            raise self.failure
        return Outcome([Failure(0, Rejected("no"))])


@pytest.fixture
def plugin() -> type[Synchronous]:
    gates = {"gate": threading.Event(), "opening": threading.Event()}
    for gate in gates.values():
        gate.set()
    return type("Blocking", (Synchronous,), {"threads": set(), "writes": [], "closed": 0, "failure": None, **gates})


async def test_a_blocking_sink_runs_in_a_separate_thread_and_behaves_as_any_other(plugin: type[Synchronous]) -> None:
    async with SinkOpener(plugin).open(SinkConfig(), make_context(name="old")) as sink:
        assert (sink.limits.max_messages, sink.size_of(make_message()), sink.order_of(make_message(topic="t"))) == (10, 7, "t")
        assert [failure.index for failure in (await sink.write(make_messages([b"1"]))).failed] == [0]
        assert await sink.holds(make_messages([b"1"])) is False
        plugin.failure = Unavailable("gone")
        with pytest.raises(Unavailable, match="gone"):
            await sink.write(make_messages([b"1"]))
    assert plugin.threads == {"sink old"}
    assert plugin.closed == 1
    assert "sink old" not in {thread.name for thread in threading.enumerate()}


async def test_while_it_blocks_everything_else_goes_on(plugin: type[Synchronous]) -> None:
    plugin.gate.clear()
    reader, other = ListReader(*messages(3)), ListReader()
    open_gate = threading.Event()
    open_gate.set()
    quick = type("Quick", (plugin,), {"blocking": False, "gate": open_gate, "threads": set(), "writes": []})
    async with asyncio.timeout(PATIENCE), running(configured(plugin), reader), running(configured(quick), other):
        await until(lambda: plugin.threads, PATIENCE)
        for number in range(10):
            other.add(*messages(1, start=number + 1))
            await until(lambda: not other.pending, PATIENCE)
        assert plugin.writes == []
        plugin.gate.set()
        await until(lambda: not reader.pending, PATIENCE)


async def test_a_write_that_hangs_beyond_its_time_out_is_known_to_go_on(plugin: type[Synchronous]) -> None:
    """Two writes of one client never interleave, and the router learns that the first has not ended."""
    plugin.gate.clear()
    reader = ListReader(*messages(1))
    async with asyncio.timeout(PATIENCE), running(configured(plugin, timeout=0.05), reader) as runner:
        await until(lambda: "goes on although" in runner.status.last_error, PATIENCE)
        assert plugin.writes == []
        plugin.gate.set()
        await until(lambda: not reader.pending, PATIENCE)


async def test_an_opening_that_hangs_is_given_up_and_the_threads_are_bounded(plugin: type[Synchronous]) -> None:
    plugin.opening.clear()
    opener = SinkOpener(plugin)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), opener.open(SinkConfig(), make_context(name="stuck")):
                pass
    with pytest.raises(Unavailable, match="still hang"):
        async with opener.open(SinkConfig(), make_context(name="stuck")):
            pass
    plugin.opening.set()
    deadline = time.monotonic() + PATIENCE
    while any(thread.name == "sink stuck" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    async with opener.open(SinkConfig(), make_context(name="stuck")):
        pass


async def test_an_error_of_opening_is_passed_on(plugin: type[Synchronous]) -> None:
    class Closed(plugin):  # type: ignore[misc, valid-type]  # of the fixture
        @classmethod
        @asynccontextmanager
        async def open(cls, config: Any, context: Any) -> AsyncIterator[Self]:
            raise Unavailable("not now")
            yield

    with pytest.raises(Unavailable, match="not now"):
        async with SinkOpener(Closed).open(SinkConfig(), make_context()):
            pass
