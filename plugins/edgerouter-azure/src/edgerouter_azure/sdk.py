"""The SDK is imported when something of it is opened: `check` and `schema` need none of its 300 ms and 40 MB."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module


async def load(*names: str) -> None:
    """Import modules in a thread, so that the event loop goes on meanwhile.

    Args:
        names: `package.module`, or `package.module:name` where a module imports more with the name.
    """
    for name in names:
        module, _, attribute = name.partition(":")
        if module not in sys.modules or attribute:
            await asyncio.to_thread(_load, module, attribute)


def _load(module: str, attribute: str) -> None:
    loaded = import_module(module)
    if attribute:
        getattr(loaded, attribute)
