"""Back-off with full jitter: how long to wait before the next attempt."""

from __future__ import annotations

import random


def full_jitter(attempt: int, first_delay: float, max_delay: float, at_least: float | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (1, 2, ...).

    Uniform between 0 and an upper bound that doubles with each attempt, so that many devices that lost the same service do not come
    back at the same moment (AWS Architecture Blog, "Exponential Backoff And Jitter"). A wait that the service asked for is kept,
    with up to a tenth more of jitter.
    """
    bound = min(max_delay, first_delay * 2.0 ** min(attempt - 1, 60))
    delay = random.uniform(0, bound)  # noqa: S311  (jitter, not cryptography)
    if at_least is not None:
        delay = max(delay, at_least * random.uniform(1.0, 1.1))  # noqa: S311  (jitter, not cryptography)
    return delay
