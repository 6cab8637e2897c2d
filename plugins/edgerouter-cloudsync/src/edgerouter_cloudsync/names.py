"""Topic that a request has within the router, which names the broker to publish to."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from edgerouter import Message

FIRST_LEVEL: Final = "$cloudsync"
"""First level of the topic: `#` and `+` do not match it, so no other sink gets these messages by accident."""
TOPICS: Final = f"{FIRST_LEVEL}/#"
"""Filter of the sink."""
REQUEST: Final = "cloudsync-request"
"""User property that holds the number of the request."""
APP: Final = "cloudsync-appid"
"""User property that holds the application's id."""

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_LONGEST: Final = 253
"""Characters of a host name (RFC 1035, 2.3.4)."""


def is_host(text: str) -> bool:
    """Return True for the name or address of a host, without scheme and port."""
    if ":" not in text:
        return _HOST.fullmatch(text) is not None
    try:
        IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return len(text) <= _LONGEST and "/" not in text


def routed(broker: str, topic: str) -> str:
    """Return the topic within the router."""
    return f"{FIRST_LEVEL}/{broker}/{topic}"


def taken_apart(topic: str) -> tuple[str, str] | None:
    """Return broker and topic; `None` for a topic of another form."""
    first, _, rest = topic.partition("/")
    broker, slash, wanted = rest.partition("/")
    return (broker, wanted) if first == FIRST_LEVEL and broker and slash and wanted else None


def request_of(message: Message) -> str:
    """Return the number of the request; empty for a message that came another way."""
    for name, value in message.properties.user if message.properties is not None else ():
        if name == REQUEST:
            return value
    return ""
