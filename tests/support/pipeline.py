"""Fakes for tests of the pipeline: a reader over a list, a scripted sink, and a configured sink around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from edgerouter import DELIVERED, Limits, Message, Outcome, Sink, SinkConfig, SinkContext
from edgerouter.config.digest import Digest
from edgerouter.config.model import ConfiguredSink, SinkPolicies
from edgerouter.pipeline.runner import Runner
from edgerouter.pipeline.shaping.chain import Chain
from edgerouter.pipeline.tap import SinkTaps
from edgerouter.spool.contract import Rejection
from edgerouter.spool.status import Ledger
from edgerouter.telemetry.spans import Spans

SPOOL = "spool"


def messages(count: int, *, start: int = 1, topic: str = "t", payload: bytes = b"x") -> list[Message]:
    """Build messages of a spool, numbered from `start`."""
    return [Message(topic, payload, 1_700_000_000_000_000_000, 1, False, None, SPOOL, start + n) for n in range(count)]


class ListReader:
    """A reader over a list that records every call."""

    def __init__(self, *added: Message) -> None:
        self.waiting: list[Message] = []
        self.pending: dict[int, Message] = {}
        self.delivered_messages: list[Message] = []
        self.filtered_messages: list[Message] = []
        self.rejections: list[Rejection] = []
        self.kept: list[list[Message]] = []
        self.to_keep: list[list[Message]] = []
        self._matched = 0
        self._ready: Callable[[], None] = lambda: None
        self.add(*added)

    def add(self, *added: Message) -> None:
        """Append messages."""
        self.waiting += added
        self.pending |= {message.sequence: message for message in added}
        self._matched += len(added)
        self._ready()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self._matched, len(self.delivered_messages), len(self.rejections), pending=len(self.pending))

    @property
    def oldest_pending_at(self) -> int | None:
        return None

    def on_ready(self, call: Callable[[], None]) -> None:
        self._ready = call

    def take(self, max_messages: int) -> list[Message]:
        taken, self.waiting = self.waiting[:max_messages], self.waiting[max_messages:]
        return taken

    @property
    def caught_up(self) -> bool:
        return not self.waiting

    def is_pending(self, message: Message) -> bool:
        return message.sequence in self.pending

    def give_back(self, messages: Sequence[Message]) -> None:
        self.waiting = sorted([*messages, *self.waiting], key=lambda message: message.sequence)
        self._ready()

    def delivered(self, messages: Sequence[Message]) -> None:
        self._settle(messages)
        self.delivered_messages += messages

    def filtered(self, messages: Sequence[Message]) -> None:
        self._settle(messages)
        self.filtered_messages += messages

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        self._settle(messages)

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        self._settle([rejection.message for rejection in rejections])
        self.rejections += rejections

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        self.kept.append(list(messages))

    async def kept_batches(self) -> list[list[Message]]:
        return self.to_keep

    def _settle(self, settled: Sequence[Message]) -> None:
        for message in settled:
            del self.pending[message.sequence]


Answer = Callable[[list[Message]], "Awaitable[Outcome] | Outcome"]


class ScriptedSink(Sink[SinkConfig]):
    """A sink that records every write in `writes` and answers with `answer`; tests subclass it through `scripted`."""

    writes: ClassVar[list[list[Message]]]
    opened: ClassVar[int]
    answer: ClassVar[Answer]
    the_limits: ClassVar[Limits]

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        cls.opened += 1
        yield cls()

    @property
    def limits(self) -> Limits:
        return self.the_limits

    async def write(self, batch: Sequence[Message]) -> Outcome:
        batch = list(batch)
        self.writes.append(batch)
        answer = type(self).__dict__["answer"](batch) if "answer" in type(self).__dict__ else DELIVERED
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer


def scripted(answer: Answer = lambda _: DELIVERED, limits: Limits = Limits(), **attributes: Any) -> type[ScriptedSink]:  # noqa: B008  (frozen)
    """Create a sink class that answers every write with `answer(batch)`."""
    return type("Scripted", (ScriptedSink,), {"writes": [], "opened": 0, "answer": answer, "the_limits": limits, **attributes})


def configured(plugin: type[Sink[Any]], **policies: Any) -> ConfiguredSink:
    """Configure a sink named `sink`, with fast retries by default."""
    policies.setdefault("retry", {"first_delay": 0.001, "max_delay": 0.002})
    return ConfiguredSink(
        name="sink",
        plugin=plugin,
        policies=SinkPolicies.model_validate(policies),
        config=SinkConfig(),
        raw={},
        digest=Digest("scripted"),
        type="scripted",
    )


CONTEXT = SinkContext(name="sink", host="host", spool=SPOOL)


@asynccontextmanager
async def running(
    sink: ConfiguredSink,
    reader: ListReader,
    spans: Spans | None = None,
    steps: Chain | None = None,
    taps: SinkTaps | None = None,
) -> AsyncIterator[Runner]:
    """Run the runner of a configured sink."""

    async def resolve() -> SinkConfig:
        return sink.config

    runner = Runner(sink, reader, CONTEXT, resolve, steps, spans=spans, taps=taps)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition, for a bounded time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def sequences(batch: Sequence[Message]) -> list[int]:
    """Return the sequences of messages."""
    return [message.sequence for message in batch]
