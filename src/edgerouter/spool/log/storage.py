"""Log storage: where a reader gets chunks from, and where it reports what is settled. Both spools implement it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger


class Loaded(msgspec.Struct):
    """Chunks fetched for a reader."""

    chunks: list[Chunk] = msgspec.field(default_factory=list)
    upto: int = 0
    """Below this, whatever was asked for and is not in `chunks` is not wanted or is gone."""


class LogStorage(Protocol):
    """Source of a reader's chunks, and receiver of what it settles."""

    @property
    def end(self) -> int:
        """The sequence that the next message will have."""

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence, if it is in memory."""

    def load(self, ledger: SinkLedger, ranges: list[tuple[int, int]], done: Callable[[Loaded], None]) -> None:
        """Fetch the first chunks of these ranges; `done` is called later."""

    def settled(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """These are done for this sink: its ledger has changed, and there may be something to trim."""

    def skipped(self, ledger: SinkLedger, ranges: list[tuple[int, int]]) -> None:
        """The sink does not want these: no loss if that is forgotten."""

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic."""

    async def dead_letter(self, ledger: SinkLedger, ranges: list[tuple[int, int]], rejections: Sequence[Rejection]) -> None:
        """Store dead letters; returns when they are safe and their sequences are settled."""

    async def keep_batch(self, ledger: SinkLedger, sequences: Sequence[int]) -> None:
        """Remember a batch; returns when that is safe."""

    async def kept_batches(self, ledger: SinkLedger) -> list[list[Message]]:
        """The batches remembered."""
