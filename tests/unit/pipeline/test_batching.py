"""Messages reach the worker that writes them, whatever the other workers do.

Covers also: edgerouter.pipeline.ready.
"""

import asyncio
import random
from collections.abc import Sequence

import pytest

from edgerouter import DELIVERED, Message, Outcome
from support.pipeline import ListReader, configured, messages, running, scripted, until


class CountingReader(ListReader):
    """Counts how often it is asked for messages."""

    asked = 0

    def take(self, max_messages: int) -> list[Message]:
        self.asked += 1
        return super().take(max_messages)


def by_topic(_sink: object, message: Message) -> str:
    """Order messages by their topic."""
    return message.topic


@pytest.mark.parametrize("order", [by_topic, lambda *_: None], ids=["ordered", "unordered"])
async def test_a_message_wakes_few_of_many_idle_workers(order: object) -> None:
    """One worker reads, and one writes; 32 that looked again would cost more than the write."""
    reader, plugin = CountingReader(), scripted(order_of=order)
    async with running(configured(plugin, concurrency=32), reader):
        await until(lambda: reader.asked >= 32)
        for number in range(1, 11):
            before = reader.asked
            reader.add(*messages(1, start=number, topic=f"t{number}"))
            await until(lambda: not reader.pending)
            assert reader.asked - before <= 8


async def test_a_write_that_hangs_keeps_no_message_from_the_other_workers() -> None:
    async def answer(batch: Sequence[Message]) -> Outcome:
        if batch[0].topic == "dead":
            await asyncio.Event().wait()
        return DELIVERED

    reader, plugin = (
        ListReader(),
        scripted(answer, order_of=lambda _, message: 0 if message.topic == "dead" else int(message.topic)),
    )
    async with running(configured(plugin, concurrency=4), reader):
        for number in range(1, 40, 4):
            added = [messages(1, start=number + place, topic=topic)[0] for place, topic in enumerate(("dead", "1", "2", "3"))]
            random.Random(number).shuffle(added)
            reader.add(*added)
            await until(lambda: {message.topic for message in reader.pending.values()} == {"dead"})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("linger", [0, 0.002])
@pytest.mark.parametrize("order", [by_topic, lambda *_: None], ids=["ordered", "unordered"])
async def test_everything_is_handed_out_whatever_arrives_while_workers_write(order: object, linger: float, seed: int) -> None:
    chance = random.Random(seed)

    async def answer(_batch: Sequence[Message]) -> Outcome:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        return DELIVERED

    reader, plugin = ListReader(), scripted(answer, order_of=order)
    batch = {"max_messages": chance.randint(1, 5), "linger": linger}
    async with running(configured(plugin, concurrency=chance.randint(2, 6), batch=batch), reader):
        sequence = 1
        for _ in range(60):
            count = chance.randint(1, 12)
            reader.add(*[messages(1, start=sequence + n, topic=f"t{chance.randrange(5)}")[0] for n in range(count)])
            sequence += count
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
        await until(lambda: not reader.pending)
    assert len(reader.delivered_messages) == sequence - 1
