"""Notice a changed configuration file: SIGHUP, or another content on disk."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

LOOK_SECONDS = 2.0
"""How often the file is looked at. A look costs one system call and works on every file system, bind mounts and links included."""


async def watch(file: Path | None, changed: Callable[[], Awaitable[None]], look_seconds: float = LOOK_SECONDS) -> None:
    """Call `changed` at every SIGHUP and whenever the file is another one or has another content; runs until cancelled."""
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    seen = _fingerprint(file)
    try:
        while True:
            try:
                async with asyncio.timeout(look_seconds):
                    await wanted.wait()
            except TimeoutError:
                present = _fingerprint(file)
                if present is None or present == seen:
                    continue
                seen = present
            wanted.clear()
            seen = _fingerprint(file) or seen
            await changed()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _fingerprint(file: Path | None) -> tuple[int, int, int] | None:
    """What changes when the file changes; `None` while there is no file, as in the middle of a replacement."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
