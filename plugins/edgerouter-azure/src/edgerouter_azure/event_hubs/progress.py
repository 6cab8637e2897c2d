"""Progress of a consumer in each partition: received, handed to the router, stored; checkpoints keep the last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Final

from edgerouter import Delivery, Unavailable
from edgerouter.receiving import Problems
from edgerouter_azure.event_hubs.checkpoints import Checkpoints
from edgerouter_azure.event_hubs.received import Position, newest

_SAVE_SECONDS: Final = 5.0
"""Seconds to wait for the last checkpoint when closing."""


class Progress:
    """Positions by partition.

    Args:
        stores: where checkpoints are kept.
        interval: seconds between checkpoints.
    """

    def __init__(self, stores: Sequence[Checkpoints], interval: float) -> None:
        self.received: dict[str, Position] = {}
        """Last event received."""
        self._handed_on: dict[str, Position] = {}
        """Last event given to the router."""
        self._stored: dict[str, Position] = {}
        """Last event that is safe."""
        self._stores = stores
        self._interval = interval
        self._unsaved = asyncio.Event()

    async def load(self, unacknowledged: Iterable[Delivery]) -> dict[str, Position]:
        """Return the last stored event of each partition, by the checkpoints and by the receipts in the spool.

        Raises:
            Unavailable: the checkpoints cannot be read.
        """
        known = [(partition, at) for store in self._stores for partition, at in (await store.load()).items()]
        for delivery in unacknowledged:
            known += [(partition, Position(*at)) for partition, at in json.loads(delivery.receipt).items()]
        return newest(known)

    def begin(self, starts: dict[str, Position]) -> None:
        """Start behind these events. They are saved, so that after a crash `start: now` resumes where it first began."""
        self.received = dict(starts)
        self._handed_on = dict(starts)
        self._stored = dict(starts)
        self._unsaved.set()

    def receipt(self, tokens: Sequence[tuple[str, Position]]) -> bytes:
        """Build the receipt of a delivery: that of the last one covers all before it, however old the checkpoint is."""
        self._handed_on |= newest(tokens)
        return json.dumps(self._handed_on).encode()

    def stored(self, tokens: Sequence[tuple[str, Position]]) -> None:
        """Record that events are safe."""
        self._stored |= newest(tokens)
        self._unsaved.set()

    async def keep_saving(self, problems: Problems) -> None:
        """Save checkpoints at the interval, for ever."""
        failures = 0
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            try:
                await self._save()
            except (Unavailable, OSError) as error:
                failures += 1
                self._unsaved.set()
                await problems.back_off("checkpoints", f"checkpoint not kept: {error}", failures, error)
            else:
                failures = 0
                problems.solved("checkpoints")
                await asyncio.sleep(self._interval)

    async def save_last(self, problems: Problems) -> None:
        """Save a last checkpoint, for a short while."""
        if not self._stored:
            return
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                await self._save()
        except (Unavailable, OSError) as error:
            problems.log.warning("the last checkpoint is not kept; some events may come again", reason=str(error))

    async def _save(self) -> None:
        for store in self._stores:
            await store.save(self._stored)
