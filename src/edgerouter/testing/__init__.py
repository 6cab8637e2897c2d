"""For plugin authors: the conformance suite that every sink passes, and what it is made of.

Subclass `SinkConformance` in a test module of your plugin, give it your sink and a server, and run pytest
(with pytest-asyncio installed). pytest is imported only when `SinkConformance` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgerouter.testing.delivery import deliver
from edgerouter.testing.held_loop import never_holds_the_loop
from edgerouter.testing.http_server import HttpSinkServer
from edgerouter.testing.messages import make_context, make_message, make_messages
from edgerouter.testing.server import Received, SinkServer

if TYPE_CHECKING:
    from edgerouter.testing.conformance import SinkConformance

__all__ = [
    "HttpSinkServer",
    "Received",
    "SinkConformance",
    "SinkServer",
    "deliver",
    "make_context",
    "make_message",
    "make_messages",
    "never_holds_the_loop",
]

_SUITE = ("conformance", "promises", "config_promises", "write_promises", "fault_promises")


def __getattr__(name: str) -> Any:
    if name != "SinkConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415  (a production install has no pytest, and may use the fakes)

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _SUITE))
    from edgerouter.testing.conformance import SinkConformance  # noqa: PLC0415  (after its assertions are set up)

    return SinkConformance
