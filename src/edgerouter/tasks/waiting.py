"""A wait for a sign, or for a time: one future and one timer, which is less than `asyncio.wait` and `asyncio.timeout` need."""

from __future__ import annotations

import asyncio


async def wait(sign: asyncio.Future[None], seconds: float) -> None:
    """Return once the sign is given, or so many seconds have passed; then it counts as given."""
    timer = sign.get_loop().call_later(seconds, give, sign)
    try:
        await sign
    finally:
        timer.cancel()


def give(sign: asyncio.Future[None]) -> None:
    """Give the sign, if it is not given yet and nothing was cancelled that waits for it."""
    if not sign.done():
        sign.set_result(None)
