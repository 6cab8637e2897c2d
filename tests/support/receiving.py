"""A receiving source of any kind, opened without a router, that records everything it reports."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgerouter import Delivery, Message, Source, SourceContext
from edgerouter.testing import Received
from support.arrivals import lines
from support.json_lines import received
from support.mqtt_source import PATIENCE, eventually


@dataclass
class Opened:
    """A source and its reports."""

    source: Source[Any]
    told: list[tuple[bool, str]]
    _deliveries: AsyncIterator[Delivery] = field(init=False)
    _pull: asyncio.Future[Delivery] | None = None

    def __post_init__(self) -> None:
        self._deliveries = self.source.deliveries()

    async def connected(self) -> None:
        """Wait until the source reports that it is connected."""
        await eventually(lambda: bool(self.told) and self.told[-1][0])

    async def disconnected(self) -> str:
        """Wait until the source reports that it is not connected; return the reason."""
        await eventually(lambda: bool(self.told) and not self.told[-1][0])
        return self.told[-1][1]

    async def delivery(self) -> Delivery:
        """Return the next delivery."""
        pull = self._pull or asyncio.ensure_future(anext(self._deliveries))
        self._pull = None
        return await asyncio.wait_for(pull, PATIENCE)

    async def gathered(self, count: int) -> list[Delivery]:
        """Return deliveries with this many messages in total, not acknowledged."""
        found: list[Delivery] = []
        while sum(len(delivery.messages) for delivery in found) < count:
            found.append(await self.delivery())
        return found

    async def messages(self, count: int) -> list[Message]:
        """Return this many messages, acknowledged as by a router."""
        found: list[Message] = []
        while len(found) < count:
            delivery = await self.delivery()
            found += delivery.messages
            delivery.acknowledge()
        return found

    async def nothing_comes(self, seconds: float = 0.3) -> None:
        """Fail if another message comes."""
        if self._pull is None:
            self._pull = asyncio.ensure_future(anext(self._deliveries))
        done, _ = await asyncio.wait((self._pull,), timeout=seconds)
        assert not done, self._pull.result().messages

    def leave(self) -> None:
        """Stop requesting deliveries."""
        if self._pull is not None:
            self._pull.cancel()


@asynccontextmanager
async def opened(
    plugin: type[Source[Any]],
    settings: dict[str, Any],
    *,
    unacknowledged: Sequence[Delivery] = (),
    state: Path | None = None,
    probe: bool = False,
) -> AsyncIterator[Opened]:
    """Open a source named `cloud`."""
    told: list[tuple[bool, str]] = []
    context = SourceContext(
        name="cloud",
        host="test",
        spool="0123456789abcdef",
        flush_now=lambda: None,
        dropped=lambda _topic, _messages, _reason: None,
        connected=lambda connected, reason: told.append((connected, reason)),
        unacknowledged=unacknowledged,
        state=state,
        probe=probe,
    )
    async with plugin.open(plugin.Config(**settings), context) as source:
        found = Opened(source, told)
        try:
            yield found
        finally:
            found.leave()


def archived(least: int) -> Callable[[dict[str, Any]], bool]:
    """Return the condition for `RouterProcess.until` that the sink `archive` has delivered at least so many messages."""
    return lambda status: status["sinks"]["archive"]["delivered"] >= least


def written(folder: Path) -> list[Received]:
    """Return every message in a file sink's folder."""
    return [received(line.rstrip(b"\n")) for line in lines(folder)]


def arrived_exactly(folder: Path, payloads: Sequence[bytes], *, repeats: int = 0) -> None:
    """Check that every payload is in the file sink's folder, with at most that many repeats in total."""
    counted = Counter(each.payload for each in written(folder))
    wanted = Counter(payloads)
    assert not wanted - counted, f"{(wanted - counted).total()} of {len(payloads)} are missing"
    assert set(counted) == set(wanted)
    assert (counted - wanted).total() <= repeats
