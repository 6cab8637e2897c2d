"""Blocking measurements in a thread that may be left behind: a name server or a disk that hangs must not hold up the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from edgerouter.tasks.thread import Worker

T = TypeVar("T")


async def in_thread(call: Callable[[], T], seconds: float) -> T:
    """Return or raise as the call does.

    Raises:
        TimeoutError: it took longer; its thread continues and does not keep the process from ending.
    """
    worker = Worker("doctor")
    try:
        async with asyncio.timeout(seconds):
            return await worker.run(call)
    finally:
        await worker.close(patience=0.05)
