"""Back-off with jitter: seconds to wait before the next attempt."""

from __future__ import annotations

import random

from edgerouter.errors import LONGEST_WAIT


def full_jitter(attempt: int, first_delay: float, max_delay: float, at_least: float | None = None, *, floor: float = 0.0) -> float:
    """Return the seconds to wait after failed attempt number `attempt` (1, 2, ...).

    Uniform between 0 and an upper bound that doubles with each attempt, so that many devices that lost the same service do not come
    back at the same moment (AWS Architecture Blog, "Exponential Backoff And Jitter"). A wait that the service asked for is kept
    up to an hour, with up to a tenth more of jitter. `floor` is the part of the upper bound that is waited at least.
    """
    bound = min(max_delay, first_delay * 2.0 ** min(attempt - 1, 60))
    delay = bound * random.uniform(floor, 1.0)  # noqa: S311  (jitter, not cryptography)
    if at_least is not None and at_least > 0:
        delay = max(delay, min(at_least, LONGEST_WAIT) * random.uniform(1.0, 1.1))  # noqa: S311  (jitter, not cryptography)
    return delay
