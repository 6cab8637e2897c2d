"""A sampled write becomes a span with its outcome; the others cost one question."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgerouter import Failure, Message, Outcome, Rejected, Unavailable
from edgerouter.telemetry.spans import Write
from support.pipeline import ListReader, configured, messages, running, scripted, until


class Recorder:
    """Keeps the writes."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.writes: list[Write] = []

    def sampled(self) -> bool:
        return self.answers.pop(0) if self.answers else True

    def wrote(self, write: Write) -> None:
        self.writes.append(write)


async def test_each_sampled_write_is_reported_with_its_messages_and_its_outcome() -> None:
    away = [Unavailable("away")]

    def answer(batch: Sequence[Message]) -> Outcome:
        if away:
            raise away.pop()
        return Outcome([Failure(0, Rejected("bad"))])

    reader, spans = ListReader(*messages(5)), Recorder()
    async with running(configured(scripted(answer)), reader, spans=spans):
        await until(lambda: not reader.pending)
    assert [(write.sink, len(write.messages), write.error) for write in spans.writes] == [
        ("sink", 5, "Unavailable"),
        ("sink", 5, "Rejected"),
    ]
    assert all(write.seconds < 60 and write.began > 0 and write.size > 0 for write in spans.writes)


@pytest.mark.parametrize("sampled", [True, False])
async def test_a_write_that_is_not_sampled_is_not_reported(sampled: bool) -> None:
    reader, spans = ListReader(*messages(1)), Recorder(sampled)
    async with running(configured(scripted()), reader, spans=spans):
        await until(lambda: not reader.pending)
    assert len(spans.writes) == sampled
