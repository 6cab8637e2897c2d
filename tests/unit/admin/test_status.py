"""A sink that blocks the event loop stands in status, metrics and `edgerouter status`."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

import msgspec
from rich.console import Console

from edgerouter import Limits, Message, SinkConfig, SinkContext
from edgerouter.admin.metrics import Metrics
from edgerouter.admin.metrics.exposition import write
from edgerouter.app import Router
from edgerouter.cli.status import render
from edgerouter.config.admin import AdminConfig
from edgerouter.config.model import LogConfig, RouterConfig, ShutdownConfig, SpoolConfig
from support.pipeline import ScriptedSink, configured, until


class Blocking(ScriptedSink):
    """Blocks when it opens, as a synchronous client does that connects."""

    writes: ClassVar[list[list[Message]]] = []
    the_limits = Limits()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        time.sleep(0.8)  # noqa: ASYNC251  (the loop is blocked on purpose)
        yield cls()


async def test_a_sink_that_blocks_the_event_loop_is_named_in_status_and_metrics(tmp_path: Path) -> None:
    """All sinks and the intake stood still for as long as one sink blocked, and the status said ok."""
    config = RouterConfig(
        sources=(), sinks=(configured(Blocking),), spool=SpoolConfig(type="memory", path=tmp_path), admin=AdminConfig(),
        log=LogConfig(), shutdown=ShutdownConfig(), host="host", file=None,
    )  # fmt: skip
    router, stop = Router(config), asyncio.Event()
    task = asyncio.create_task(router.run(stop))
    try:
        await asyncio.wait_for(router.running.wait(), 30)
        await until(lambda: router.status().event_loop.pauses, 30)
        status = router.status()
        assert status.event_loop.last_holder == "sink sink"
        assert "in open" in status.event_loop.last_place
        assert b'edgerouter_event_loop_held_seconds_total{holder="sink sink"}' in write(
            Metrics(lambda: status, lambda: ()).families()
        )
        shown = io.StringIO()
        Console(file=shown, width=200).print(render(msgspec.to_builtins(status)))
        assert "sink sink held the event loop for" in shown.getvalue()
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
