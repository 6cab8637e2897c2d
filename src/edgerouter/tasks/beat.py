"""A common beat: what is looked at now and then is looked at together, so that an idle router wakes up once for all of it."""

from __future__ import annotations

import asyncio


def until_beat(seconds: float = 1.0) -> float:
    """Return the time until the next whole multiple of `seconds` on the event loop's clock.

    Timers that are due at the same moment cost one wake-up. A beat that is less than a quarter away counts as this one: a timer
    may go off a little early.
    """
    left = seconds - asyncio.get_running_loop().time() % seconds
    return left if left >= seconds / 4 else left + seconds
