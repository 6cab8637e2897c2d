"""The durable spool against a simple model, with crashes between any two transactions.

Covers: edgerouter.spool.sqlite.committer, edgerouter.spool.sqlite.spool.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgerouter.message import Message
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Reader, Rejection
from edgerouter.spool.operator import DeadLetterFilter
from edgerouter.spool.sqlite.db import compaction
from support.spools import Pipe, files_after_a_kill, fresh, restore, route, sqlite, take_some

T = TypeVar("T")
SINKS = {"every": ("#",), "some": ("a/#",), "live": ("#",), "rare": ("c",)}
share = st.floats(0, 1)


class Model:
    """Expected state of a sink: the fate of every message that it wants."""

    def __init__(self) -> None:
        self.fate: dict[int, str] = {}
        self.dead: set[int] = set()
        self.taken: dict[int, Message] = {}
        self.replayed = 0

    def count(self, fate: str) -> int:
        return sum(1 for each in self.fate.values() if each == fate)

    def pending(self) -> set[int]:
        return {sequence for sequence, fate in self.fate.items() if fate == "pending"}


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.models = {sink: Model() for sink in SINKS}
        self.next = 1
        self.stack = AsyncExitStack()
        # so that packing takes part in short runs
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(compaction, "AFTER", 6)
        self.patch.setattr(compaction, "LEAST", 2)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        shutil.rmtree(self.folder)
        self.patch.undo()

    @initialize()
    def start(self) -> None:
        self.run(self.open())

    async def open(self) -> None:
        config = sqlite(self.folder, cache_bytes=5000)
        self.spool: Any = await self.stack.enter_async_context(open_spool(config))
        self.pipe = Pipe(self.spool)
        self.readers: dict[str, Reader] = {}
        for sink, filters in SINKS.items():
            drain = "live_first" if sink == "live" else "fifo"
            (self.readers[sink],) = await self.pipe.attach(route(sink, *filters, drain=drain))
            self.models[sink].taken.clear()

    # -- what happens -----------------------------------------------------------------------------------------------------------

    @rule(topics=st.lists(st.sampled_from(["a/1", "a/2", "b", "b", "c"]), min_size=1, max_size=12))
    def append(self, topics: list[str]) -> None:
        self.run(self.pipe.append([message for topic in topics for message in fresh(1, topic=topic)]))
        self.stored(topics)

    @rule(groups=st.lists(st.lists(st.sampled_from(["a/1", "b", "c"]), min_size=1, max_size=5), min_size=2, max_size=4))
    def append_at_once(self, groups: list[list[str]]) -> None:
        async def appends() -> None:
            await asyncio.gather(*(self.pipe.append([m for t in topics for m in fresh(1, topic=t)]) for topics in groups))

        self.run(appends())
        self.stored([topic for topics in groups for topic in topics])

    def stored(self, topics: list[str]) -> None:
        for topic in topics:
            for sink, model in self.models.items():
                if self.pipe.routes[sink].matches(topic):
                    model.fate[self.next] = "pending"
            self.next += 1

    @rule(sink=st.sampled_from(sorted(SINKS)), most=st.integers(1, 20))
    def take(self, sink: str, most: int) -> None:
        model, reader = self.models[sink], self.readers[sink]
        free = model.pending() - model.taken.keys()
        if not free:
            assert reader.take(most) == []
            return
        messages = self.run(take_some(reader, most))
        assert 1 <= len(messages) <= most
        taken = [message.sequence for message in messages]
        assert taken == sorted(taken)
        assert set(taken) <= free
        if sink != "live":
            assert taken == sorted(free)[: len(taken)], "the oldest come first"
        model.taken |= {message.sequence: message for message in messages}

    def some(self, sink: str, which: float, count: int) -> list[Message]:
        """Some of the messages taken, from a place in the middle on."""
        taken = [message for _, message in sorted(self.models[sink].taken.items())]
        start = int(which * len(taken))
        return taken[start : start + count]

    def settle(self, sink: str, messages: list[Message], fate: str) -> None:
        for message in messages:
            del self.models[sink].taken[message.sequence]
            self.models[sink].fate[message.sequence] = fate

    @rule(sink=st.sampled_from(sorted(SINKS)), which=share, count=st.integers(1, 15))
    def deliver(self, sink: str, which: float, count: int) -> None:
        messages = self.some(sink, which, count)
        self.readers[sink].delivered(messages)
        self.settle(sink, messages, "delivered")
        self.readers[sink].delivered(messages)

    @rule(sink=st.sampled_from(sorted(SINKS)))
    def deliver_all(self, sink: str) -> None:
        messages = list(self.models[sink].taken.values())
        self.readers[sink].delivered(messages)
        self.settle(sink, messages, "delivered")

    @rule(sink=st.sampled_from(sorted(SINKS)), which=share)
    def drop(self, sink: str, which: float) -> None:
        messages = self.some(sink, which, 2)
        self.readers[sink].dropped(messages, "policy")
        self.settle(sink, messages, "dropped")

    @rule(sink=st.sampled_from(sorted(SINKS)), which=share)
    def dead_letter(self, sink: str, which: float) -> None:
        messages = self.some(sink, which, 3)
        self.run(self.readers[sink].dead_letter([Rejection(m, "bad", "Rejected", 1, 0) for m in messages]))
        self.settle(sink, messages, "dead")

    @rule(sink=st.sampled_from(sorted(SINKS)), which=share, count=st.integers(1, 15))
    def give_back(self, sink: str, which: float, count: int) -> None:
        messages = self.some(sink, which, count)
        self.readers[sink].give_back(messages)
        for message in messages:
            del self.models[sink].taken[message.sequence]

    @precondition(lambda self: any(model.count("dead") for model in self.models.values()))
    @rule(sink=st.sampled_from(sorted(SINKS)))
    def replay_dead_letters(self, sink: str) -> None:
        letters = self.run(self.spool.tools.dead_letters(DeadLetterFilter(sink=sink)))
        assert {letter.message.sequence for letter in letters} == {
            sequence for sequence, fate in self.models[sink].fate.items() if fate == "dead"
        }
        assert self.run(self.spool.tools.replay_dead_letters(DeadLetterFilter(sink=sink))) == len(letters)
        for letter in letters:
            del self.models[sink].fate[letter.message.sequence]
            self.models[sink].fate[self.next] = "pending"
            self.next += 1

    @rule()
    def flush(self) -> None:
        self.run(self.spool.flush())

    @rule()
    def verify(self) -> None:
        assert self.run(self.spool.tools.verify()).problems == ()

    @rule(sink=st.sampled_from(sorted(SINKS)))
    def detach_and_attach(self, sink: str) -> None:
        self.run(self.spool.detach(sink))
        self.readers[sink] = self.run(self.spool.attach(self.pipe.routes[sink]))
        self.models[sink].taken.clear()

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.run(self.open())

    @rule(settling=st.booleans())
    def crash(self, settling: bool) -> None:
        """Only messages settled since the last commit may arrive again."""
        if settling:
            self.run(asyncio.sleep(0))
        saved = self.run(files_after_a_kill(self.spool, self.folder))
        self.run(self.stack.aclose())
        restore(self.folder, saved)
        self.run(self.open())
        for sink, model in self.models.items():
            reader = self.readers[sink]
            again = {sequence for sequence in model.fate if reader.sink_ledger.position.__contains__(sequence)}  # type: ignore[attr-defined]
            assert model.pending() <= again
            for sequence in again:
                model.fate[sequence] = "pending"

    # -- what holds -------------------------------------------------------------------------------------------------------------

    @invariant()
    def ledgers_hold(self) -> None:
        for sink, model in self.models.items():
            if not hasattr(self, "readers"):
                return
            ledger = self.readers[sink].ledger
            assert ledger.matched == len(model.fate)
            assert ledger.delivered == model.count("delivered")
            assert ledger.dead_lettered == model.count("dead")
            assert ledger.dropped == model.count("dropped")
            assert ledger.pending == model.count("pending")
            for sequence in model.taken:
                assert self.readers[sink].is_pending(model.taken[sequence])

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        if hasattr(self, "spool"):
            assert self.spool.status.last_sequence == self.next - 1


TestSqliteSpool = SpoolMachine.TestCase
TestSqliteSpool.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
