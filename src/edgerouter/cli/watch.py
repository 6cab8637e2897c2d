"""Notice a changed configuration file: SIGHUP, or another content on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from edgerouter.config.file_search import Fingerprint, fingerprint
from edgerouter.tasks.beat import until_beat

LOOK_SECONDS = 2.0
"""Interval of looking at the file. A look costs one system call and works on every file system, bind mounts and links included."""


async def watch(
    file: Path | None,
    seen: Fingerprint | None,
    hang_up: asyncio.Event,
    changed: Callable[[], Awaitable[None]],
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Call `changed` at every SIGHUP and whenever the file is another one or has another content; runs until cancelled.

    Args:
        file: the configuration.
        seen: its fingerprint when it was read.
        hang_up: set by every SIGHUP.
        changed: reads it again.
        look_seconds: between two looks.
    """
    while True:
        present = fingerprint(file)
        if hang_up.is_set() or (present is not None and present != seen):
            hang_up.clear()
            seen = present or seen
            await changed()
        with suppress(TimeoutError):
            async with asyncio.timeout(until_beat(look_seconds)):
                await hang_up.wait()
