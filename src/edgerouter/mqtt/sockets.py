"""State of a socket: detects a failure that the event loop does not report, and formats errors as text.

uvloop stops watching a socket with an error after calling the reader once. A reset that follows unread data is such a case: the
reader gets the data, and is never called for the reset.
"""

from __future__ import annotations

import re
import select
from typing import Final

_NUMBER: Final = re.compile(r"^\[Errno -?\d+\] ")
_TLS: Final = re.compile(r"^\[SSL(?:: \w+)?\] (.*?)\.?(?: \(_ssl\.c:\d+\))?$")


def as_text(error: str) -> str:
    """Return the message of an operating system or OpenSSL error, without its numbers and file names."""
    if tls := _TLS.match(error):
        return f"TLS: {tls[1]}"
    return _NUMBER.sub("", error)


def has_failed(fileno: int) -> bool:
    """Return True if the peer has reset the connection, or both sides have closed it; data may still be unread."""
    poll = select.poll()
    # errors are reported without being requested
    poll.register(fileno, 0)
    return bool(poll.poll(0))
