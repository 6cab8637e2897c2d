"""Whether a socket has failed, where the event loop does not say so.

uvloop stops watching a socket that has an error once it has called the reader a single time. A reset that comes behind data not yet
read is such a case: the reader gets the data, and never hears of the reset.
"""

from __future__ import annotations

import select


def has_failed(fileno: int) -> bool:
    """Whether the other side has reset the connection, or both sides have closed it; data may still be read."""
    poll = select.poll()
    # errors are told without being asked for
    poll.register(fileno, 0)
    return bool(poll.poll(0))
