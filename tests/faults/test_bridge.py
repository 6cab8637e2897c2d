"""One router bridges two brokers both ways while its links flap: nothing is lost, nothing loops, each topic keeps its order."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest

from support.arrivals import Payload
from support.chaos import Chaos, chaos
from support.load import Plan, Report, load, topics
from support.mosquitto import running
from support.promise import ledgers_hold, spool_is_sound
from support.router import router

SECONDS = float(os.environ.get("EDGEROUTER_TEST_BRIDGE_SECONDS", "3"))
BROKER = ("max_queued_messages 0", "log_type error")
RATE = 150


@dataclass(slots=True)
class Listener:
    """Everything that a subscriber of one broker gets, repeats included, as (topic, running number)."""

    got: list[tuple[str, int]] = field(default_factory=list)
    seen: set[tuple[str, int]] = field(default_factory=set)

    def add(self, topic: str, number: int) -> None:
        """Take note of an arrival."""
        self.got.append((topic, number))
        self.seen.add((topic, number))

    def counts(self) -> dict[str, Counter[int]]:
        """Return the numbers by topic."""
        found: dict[str, Counter[int]] = {}
        for topic, number in self.got:
            found.setdefault(topic, Counter())[number] += 1
        return found


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    """Subscribe to everything."""
    listener = Listener()
    decode = msgspec.json.Decoder(Payload).decode

    class Direct(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            listener.add(str(item.topic), decode(item.payload).n)

    async with aiomqtt.Client("127.0.0.1", port, queue_type=Direct) as client:
        await client.subscribe("#", qos=1)
        yield listener


def bridge(one: Chaos, two: Chaos, protocol: str, prefix: str) -> dict[str, Any]:
    """Configure what a bridge calls `topic # both 1 "" prefix`, of the topics below `plant`."""
    quick = {"first_delay": "20ms", "max_delay": "100ms"}
    each = {"type": "mqtt", "protocol": protocol}
    far = {"topics": [f"{prefix}plant/#"]}
    near = {"topics": ["plant/#"]}
    at_one, at_two = ({"url": f"mqtt://127.0.0.1:{proxy.port}"} for proxy in (one, two))
    levels = prefix.count("/")
    return {
        "sources": {
            "one": {**each, **at_one, **near, "reconnect": quick},
            "two": {**each, **at_two, **far, "reconnect": quick},
        },
        "sinks": {
            "to-two": {**each, **at_two, **near, "topic": f"{prefix}{{topic}}", "retry": quick},
            "to-one": {**each, **at_one, **far, "topic": f"{{topic[{levels}:]}}" if levels else "{topic}", "retry": quick},
        },
    }


async def flap(proxy: Chaos, chance: random.Random, until: float) -> int:
    """Cut a link now and then, for a moment or for longer; return how often."""
    cuts = 0
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        proxy.refuse()
        cuts += 1
        await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.5))))
        proxy.heal()
    return cuts


def expected(report: Report, mapped: Callable[[str], str]) -> set[tuple[str, int]]:
    """Return what the other broker must get."""
    return {(mapped(topic), number) for topic, numbers in report.acknowledged_numbers().items() for number in numbers}


def out_of_order(listener: Listener) -> list[tuple[str, int]]:
    """Return first arrivals that came after a higher number of their topic."""
    highest: Counter[str] = Counter()
    seen = set()
    late = []
    for topic, number in listener.got:
        if (topic, number) not in seen:
            seen.add((topic, number))
            if number < highest[topic]:
                late.append((topic, number))
            highest[topic] = max(highest[topic], number)
    return late


@pytest.mark.timeout(120 + 2 * SECONDS)
@pytest.mark.parametrize(("protocol", "prefix"), [("5", "site/a/"), ("3.1.1", "")], ids=["5-mapped", "3.1.1-same"])
async def test_two_brokers_over_flapping_links_lose_nothing_and_loop_nothing(tmp_path: Path, protocol: str, prefix: str) -> None:
    """`EDGEROUTER_TEST_BRIDGE_SECONDS=600` is the long form."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    sides = ("one", "two")
    async with AsyncExitStack() as stack:
        brokers = [stack.enter_context(running(tmp_path / side, *BROKER)) for side in sides]
        proxies = [await stack.enter_async_context(chaos(broker.port)) for broker in brokers]
        process = await stack.enter_async_context(router(tmp_path, bridge(proxies[0], proxies[1], protocol, prefix)))
        at_one, at_two = [await stack.enter_async_context(listening(broker.port)) for broker in brokers]
        await process.start()
        plans = [
            Plan(brokers[0].port, topics=topics(5, "plant/one"), rate=RATE, client_id="load-one"),
            Plan(brokers[1].port, topics=topics(5, f"{prefix}plant/two"), rate=RATE, client_id="load-two"),
        ]
        loads = [await stack.enter_async_context(load(plan)) for plan in plans]
        until = time.monotonic() + SECONDS
        cuts = await asyncio.gather(*(flap(proxy, chance, until) for proxy in proxies))
        sent_one, sent_two = [await each.stop() for each in loads]
        for_two = expected(sent_one, lambda topic: prefix + topic)
        for_one = expected(sent_two, lambda topic: topic.removeprefix(prefix))
        async with asyncio.timeout(60 + SECONDS / 2):
            # the proxies run here too, so this must be cheap
            while not (for_one <= at_one.seen and for_two <= at_two.seen):
                await asyncio.sleep(0.1)
        status = await process.until(lambda status: all(not sink["pending"] for sink in status["sinks"].values()))
        ledgers_hold(status)
        assert await process.stop() == 0
    arrived = (at_one.counts(), at_two.counts())
    echoes = [_more_than_once(arrived[place], report) for place, report in enumerate((sent_one, sent_two))]
    repeats = [sum(counter.total() - len(counter) for counter in found.values()) for found in arrived]
    print(
        f"{cuts} cuts, {sent_one.acknowledged} + {sent_two.acknowledged} messages, {repeats} repeats, {echoes} back at their origin"
    )
    assert min(cuts) >= 2
    assert out_of_order(at_one) == out_of_order(at_two) == []
    assert {drop["reason"] for drop in status["drops"]} == {"loop"}
    # without properties, the echo of a publish whose answer was lost looks like a new message
    assert echoes == [0, 0] if protocol == "5" else sum(echoes) <= sum(repeats)
    await spool_is_sound(process.spool)


def _more_than_once(found: dict[str, Counter[int]], report: Report) -> int:
    """Count the messages that came back to the broker that they were published to."""
    return sum(found[topic].total() - len(numbers) for topic, numbers in report.acknowledged_numbers().items())
