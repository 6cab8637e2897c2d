"""Promises about the event loop, shared by the conformance suites of all kinds of plugins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter.testing.held_loop import never_holds_the_loop
from edgerouter.testing.promises import SinkPromises


class LoopPromises(SinkPromises):
    """A sink does not block the event loop."""

    async def test_the_event_loop_is_never_held_up(self, config: Mapping[str, Any]) -> None:
        """Opening, writing and closing leave the event loop to all other sinks and sources; none of them waits for this one."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            pytest.skip("only asyncio's own event loop can be watched")
        start = 1

        async def life() -> None:
            nonlocal start
            async with self.opened(config) as sink:
                batch = self.batch(sink, 20, start=start)
                start += len(batch)
                await self.taken(sink, batch)

        what = f"opening, writing to and closing {self.sink_class.__name__}"
        await never_holds_the_loop(life, what, self.most_held_seconds)
