"""A sink's reader over the shards of it that this router drains at the moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Final

from edgerouter.message import Message
from edgerouter.spool.contract import Reader, Rejection
from edgerouter.spool.status import Ledger

HAND_OVER_SECONDS: Final = 30.0
"""Time for the writes in flight when a shard goes to another router."""


def _ignored() -> None:
    """Do nothing: no runner waits."""


class SinkShards:
    """Merges the readers of the shards; a message belongs to the shard of its topic.

    Args:
        names: of the ledgers of all its shards.
        shard_of: returns the shard of a topic.
        valid: false once another router may have taken over.
    """

    def __init__(self, names: Sequence[str], shard_of: Callable[[str], int], valid: Callable[[], bool]) -> None:
        self._names = names
        self._shard_of = shard_of
        self._valid = valid
        self._readers: dict[str, Reader] = {}
        self._ending: set[str] = set()
        self._in_flight: Counter[str] = Counter()
        self._settled = asyncio.Event()
        self._ready: Callable[[], None] = _ignored
        self._turn = 0
        self._late = False

    # -- what the leases change -------------------------------------------------------------------------------------------------

    def add(self, ledger: str, reader: Reader) -> None:
        """Drain a shard from now on."""
        self._readers[ledger] = reader
        self._ending.discard(ledger)
        self._in_flight[ledger] = 0
        reader.on_ready(self._ready)
        self._ready()

    def remove(self, ledger: str) -> None:
        """Drain a shard no more; what is settled from now on does not count."""
        self._readers.pop(ledger, None)
        self._ending.discard(ledger)
        self._in_flight.pop(ledger, None)
        self._settled.set()

    def renewed(self) -> None:
        """Wake the runner if it has asked while the lease was over: nothing else would."""
        if self._late:
            self._late = False
            self._ready()

    async def finish(self, ledger: str, seconds: float = HAND_OVER_SECONDS) -> None:
        """Take nothing more of a shard, and wait for a while until what is in flight is settled or given back."""
        self._ending.add(ledger)
        try:
            async with asyncio.timeout(seconds):
                while self._in_flight.get(ledger, 0) > 0:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            pass

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return total(reader.ledger for reader in self._readers.values())

    @property
    def oldest_pending_at(self) -> int | None:
        return min((at for reader in self._readers.values() if (at := reader.oldest_pending_at) is not None), default=None)

    def on_ready(self, call: Callable[[], None]) -> None:
        self._ready = call
        for reader in self._readers.values():
            reader.on_ready(call)

    def take(self, max_messages: int) -> list[Message]:
        if not self._valid():
            self._late = True
            return []
        names = [name for name in self._readers if name not in self._ending]
        self._turn += 1
        for number in range(len(names)):
            name = names[(self._turn + number) % len(names)]
            if messages := self._readers[name].take(max_messages):
                self._in_flight[name] += len(messages)
                return messages
        return []

    @property
    def caught_up(self) -> bool:
        return all(reader.caught_up for reader in self._readers.values())

    def is_pending(self, message: Message) -> bool:
        reader = self._readers.get(self._names[self._shard_of(message.topic)])
        return reader is not None and reader.is_pending(message)

    def give_back(self, messages: Sequence[Message]) -> None:
        for name, some in self._by_shard(messages):
            self._ended(name, len(some))
            self._readers[name].give_back(some)

    def delivered(self, messages: Sequence[Message]) -> None:
        for name, some in self._by_shard(messages):
            self._readers[name].delivered(some)
            self._ended(name, len(some))

    def filtered(self, messages: Sequence[Message]) -> None:
        for name, some in self._by_shard(messages):
            self._readers[name].filtered(some)
            self._ended(name, len(some))

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        for name, some in self._by_shard(messages):
            self._readers[name].dropped(some, reason)
            self._ended(name, len(some))

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        by_sequence = {rejection.message.sequence: rejection for rejection in rejections}
        for name, some in self._by_shard([rejection.message for rejection in rejections]):
            await self._readers[name].dead_letter([by_sequence[message.sequence] for message in some])
            self._ended(name, len(some))

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        for name, some in self._by_shard(messages):
            await self._readers[name].keep_batch(some)

    async def kept_batches(self) -> list[list[Message]]:
        batches = []
        for name, reader in list(self._readers.items()):
            kept = await reader.kept_batches()
            self._in_flight[name] += sum(map(len, kept))
            batches += kept
        return batches

    # -- by shard ---------------------------------------------------------------------------------------------------------------

    def _by_shard(self, messages: Sequence[Message]) -> Iterator[tuple[str, Sequence[Message]]]:
        """Yield the messages of each shard that is held; the others are another router's by now."""
        if len(self._names) == 1:
            groups: dict[str, Sequence[Message]] = {self._names[0]: messages}
        else:
            groups = self._grouped(messages)
        for name, some in groups.items():
            if name in self._readers:
                yield name, some

    def _grouped(self, messages: Sequence[Message]) -> dict[str, Sequence[Message]]:
        groups: dict[str, list[Message]] = {}
        for message in messages:
            groups.setdefault(self._names[self._shard_of(message.topic)], []).append(message)
        return dict(groups)

    def _ended(self, name: str, messages: int) -> None:
        if name in self._in_flight:
            self._in_flight[name] -= messages
            if name in self._ending and self._in_flight[name] <= 0:
                self._settled.set()


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """Return the sums of ledgers."""
    sums = dict.fromkeys((field.name for field in fields(Ledger)), 0)
    for ledger in ledgers:
        for name in sums:
            sums[name] += getattr(ledger, name)
    return Ledger(**sums)
