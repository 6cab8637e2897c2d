"""What a socket tells: whether it has failed, where the event loop does not say so, and why, in words.

uvloop stops watching a socket that has an error once it has called the reader a single time. A reset that comes behind data not yet
read is such a case: the reader gets the data, and never hears of the reset.
"""

from __future__ import annotations

import re
import select
from typing import Final

_NUMBER: Final = re.compile(r"^\[Errno -?\d+\] ")
_TLS: Final = re.compile(r"^\[SSL(?:: \w+)?\] (.*?)\.?(?: \(_ssl\.c:\d+\))?$")


def in_words(error: str) -> str:
    """What an error of the operating system or of OpenSSL says, without its numbers and file names."""
    if tls := _TLS.match(error):
        return f"TLS: {tls[1]}"
    return _NUMBER.sub("", error)


def has_failed(fileno: int) -> bool:
    """Whether the other side has reset the connection, or both sides have closed it; data may still be read."""
    poll = select.poll()
    # errors are told without being asked for
    poll.register(fileno, 0)
    return bool(poll.poll(0))
