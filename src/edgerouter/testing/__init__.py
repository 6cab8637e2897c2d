"""Test kit for plugin authors: the conformance suites of sinks, sources, steps and secret stores, and their building blocks.

Subclass `SinkConformance`, `SourceConformance`, `StepConformance` or `SecretStoreConformance` in a test module of your plugin, give
it your class and a server, and run pytest (with pytest-asyncio installed). pytest is imported only when a suite is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgerouter.testing.delivery import deliver
from edgerouter.testing.held_loop import never_holds_the_loop
from edgerouter.testing.http_server import HttpSinkServer
from edgerouter.testing.messages import make_context, make_message, make_messages
from edgerouter.testing.server import Received, SinkServer

if TYPE_CHECKING:
    from edgerouter.testing.conformance import SinkConformance
    from edgerouter.testing.secret_store_conformance import SecretStoreConformance
    from edgerouter.testing.source_conformance import SourceConformance
    from edgerouter.testing.step_conformance import StepConformance

__all__ = [
    "HttpSinkServer",
    "Received",
    "SecretStoreConformance",
    "SinkConformance",
    "SinkServer",
    "SourceConformance",
    "StepConformance",
    "deliver",
    "make_context",
    "make_message",
    "make_messages",
    "never_holds_the_loop",
]

_SUITES = {
    "SecretStoreConformance": "secret_store_conformance",
    "SinkConformance": "conformance",
    "SourceConformance": "source_conformance",
    "StepConformance": "step_conformance",
}
_ASSERTING = (
    *_SUITES.values(),
    "needs",
    "plugin_promises",
    "source_bench",
    "promises",
    "config_promises",
    "write_promises",
    "fault_promises",
    "loop_promises",
    "step_bench",
)


def __getattr__(name: str) -> Any:
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415  (a production install has no pytest, and may use the fakes)

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _ASSERTING))
    return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)  # after its assertions are set up
