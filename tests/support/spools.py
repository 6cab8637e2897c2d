"""Small helpers for tests of spools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgerouter.config.model import SpoolConfig
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Reader, Rejection, Route, Spool
from edgerouter.spool.status import Ledger
from edgerouter.topics import Matcher

RECEIVED = 1_790_000_000_000_000_000


def fresh(count: int, *, topic: str = "a/b", payload: Callable[[int], bytes] = lambda n: b"%d" % n) -> list[Message]:
    """Build messages as a source does, without a sequence, a microsecond apart."""
    return [Message(topic, payload(n), RECEIVED + n * 1000, 1) for n in range(count)]


def delivery(messages: Sequence[Message], acknowledged: list[Any] | None = None, receipt: bytes = b"") -> Delivery:
    """Build a delivery that records its acknowledgement."""
    acknowledged = [] if acknowledged is None else acknowledged
    return Delivery(messages, lambda: acknowledged.append(messages), receipt)


def route(sink: str, *filters: str, **more: Any) -> Route:
    """Build a route from topic filters; `#` by default."""
    filters = filters or ("#",)
    return Route(sink, filters, Matcher(filters), **more)


def ledger(matched: int = 0, delivered: int = 0, dead_lettered: int = 0, dropped: int = 0, filtered: int = 0) -> Ledger:
    """Build the ledger of a sink with everything else pending."""
    pending = matched - delivered - dead_lettered - dropped - filtered
    return Ledger(matched, delivered, dead_lettered, dropped, filtered, pending)


def sqlite(path: Path, **more: Any) -> SpoolConfig:
    """Configure a spool in this folder that commits at once and ignores the free space of the test machine."""
    return SpoolConfig.model_validate({"path": path, "commit_interval": 0, "min_free_bytes": 0, "synchronous": "normal", **more})


class Pipe:
    """Appends to a spool like the intake: counts the messages that each route matches."""

    def __init__(self, spool: Spool, *routes: Route) -> None:
        self.spool = spool
        self.routes = {route.sink: route for route in routes}
        self.acknowledged: list[Any] = []

    async def attach(self, *routes: Route) -> list[Reader]:
        """Attach sinks."""
        self.routes |= {route.sink: route for route in routes}
        return [await self.spool.attach(route) for route in routes]

    async def append(self, messages: Sequence[Message], receipt: bytes = b"", source: str = "source") -> None:
        """Append one delivery."""
        wanted = {name: sum(route.matches(m.topic) for m in messages) for name, route in self.routes.items()}
        await self.spool.append(source, delivery(messages, self.acknowledged, receipt), wanted)


async def take_some(reader: Reader, most: int = 1000) -> list[Message]:
    """Wait until there is a message, and take at most this many."""
    ready = asyncio.Event()
    reader.on_ready(ready.set)
    while not (messages := reader.take(most)):
        await ready.wait()
        ready.clear()
    return messages


async def take(reader: Reader, count: int, most: int = 1000) -> list[Message]:
    """Wait for exactly that many messages and take them."""
    messages: list[Message] = []
    while len(messages) < count:
        messages += await take_some(reader, min(most, count - len(messages)))
    return messages


def payloads(messages: Iterable[Message]) -> list[bytes]:
    """Return the payloads of messages."""
    return [message.payload for message in messages]


def sequences(messages: Iterable[Message]) -> list[int]:
    """Return the sequences of messages."""
    return [message.sequence for message in messages]


@asynccontextmanager
async def crashing(path: Path, **more: Any) -> AsyncIterator[tuple[Spool, Callable[[], None]]]:
    """Yield a spool whose folder is restored at the end to its state at the last call of `crashed`."""
    saved: dict[str, bytes] = {}

    def crashed() -> None:
        saved.clear()
        saved.update(files(path))

    async with open_spool(sqlite(path, **more)) as spool:
        yield spool, crashed
    restore(path, saved)


def files(path: Path) -> dict[str, bytes]:
    """Return the database files as a crash at this moment would leave them."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name.startswith("spool.db")}


async def files_after_a_kill(spool: Any, path: Path) -> dict[str, bytes]:
    """Return the database files as a kill between two transactions would leave them; the database's thread reads them."""
    found: dict[str, bytes] = await spool._thread.run(lambda: files(path))
    return found


def restore(path: Path, saved: Mapping[str, bytes]) -> None:
    """Put the database files back."""
    for file in list(path.iterdir()):
        if file.name.startswith("spool.db"):
            file.unlink()
    for name, content in saved.items():
        (path / name).write_bytes(content)


def rejected(messages: Sequence[Message], reason: str = "too large") -> list[Rejection]:
    """Reject messages."""
    return [Rejection(message, reason, "Rejected", 3, 17, "digest") for message in messages]


def times(first: int, last: int) -> list[bytes]:
    """Payloads of `fresh` by number."""
    return [b"%d" % number for number in range(first, last)]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def none_left(reader: Reader) -> None:
    """Check that nothing more comes, now that all chunks are in memory or were looked for."""
    await until(lambda: reader.caught_up or bool(reader.take(0)))
    assert reader.take(10) == []


async def sound(spool: Spool) -> None:
    """Check everything that the spool can check by itself."""
    assert (await spool.tools.verify()).problems == ()


def noise(seed: int, size: int = 8000) -> bytes:
    """Return bytes that do not compress, the same for each seed."""
    import random

    return random.Random(seed).randbytes(size)
