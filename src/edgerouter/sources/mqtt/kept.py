"""State that a source keeps across restarts: its session, and the content of retained messages."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final, Self

from edgerouter.sources.mqtt.config import RetainedHandling
from edgerouter.sources.mqtt.duplicates import RetainedPolicy
from edgerouter.sources.mqtt.state import SessionState, read_retained, read_session, write_retained, write_session

_SAVE_RETAINED: Final = 30.0
"""Shortest interval in seconds between two writes of the retained messages' digests."""


class Kept:
    """State in memory, written when it has changed.

    Args:
        folder: folder of the state files; `None` keeps nothing.
        session: session at the broker.
        retained: decides about retained messages.
    """

    def __init__(self, folder: Path | None, session: SessionState, retained: RetainedPolicy) -> None:
        self.session = session
        self.retained = retained
        self.session_changed = False
        self._folder = folder
        self._saving = asyncio.Lock()
        self._save_at = 0.0

    @classmethod
    async def read(cls, folder: Path | None, broker: str, client_id: str, policy: RetainedHandling, log: Any) -> Self:
        """Read the state of the last run, if it belongs to this broker and client id."""
        known = await asyncio.to_thread(read_session, folder)
        if known is not None and (known.broker, known.client_id) != (broker, client_id):
            log.warning(
                "the broker or the client id changed; the former session stays at the former broker until it expires",
                former_broker=known.broker, former_client_id=known.client_id,
            )  # fmt: skip
            known = None
        digests = await asyncio.to_thread(read_retained, folder) if policy == "once" else {}
        return cls(folder, known or SessionState(broker, client_id), RetainedPolicy(policy, digests))

    def change_session(self) -> None:
        """Mark the session as changed."""
        self.session_changed = True

    async def save_if_due(self) -> None:
        """Write a changed session at once, and digests periodically."""
        now = time.monotonic()
        if self.session_changed or (self.retained.changed and now >= self._save_at):
            self._save_at = now + _SAVE_RETAINED
            await self.save()

    async def save(self) -> None:
        """Write all changes."""
        async with self._saving:
            if self.session_changed:
                self.session_changed = False
                await asyncio.to_thread(write_session, self._folder, self.session)
            if self.retained.changed:
                self.retained.changed = False
                await asyncio.to_thread(write_retained, self._folder, dict(self.retained.digests))
