"""edgerouter: a message router for edge devices. These are the names for plugin authors; everything else is the engine."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgerouter.errors import (
        BadInput,
        ConfigurationError,
        EdgerouterError,
        PluginError,
        Rejected,
        SecretMissing,
        Throttled,
        Unauthorized,
        Unavailable,
    )
    from edgerouter.item import Item
    from edgerouter.message import Message, Properties
    from edgerouter.outcome import DELIVERED, Failure, Outcome
    from edgerouter.secrets import SecretStore, SecretStoreConfig, SecretStoreContext
    from edgerouter.section import Section
    from edgerouter.sink import Limits, Sink, SinkConfig, SinkContext
    from edgerouter.source import Confirmation, Delivery, Source, SourceConfig, SourceContext
    from edgerouter.step import Step, StepConfig, StepContext, StepState
    from edgerouter.templates import MessageTemplate, TemplateText
    from edgerouter.topic_cache import TopicCache
    from edgerouter.units import ByteSize, Duration
    from edgerouter.variables import Variable, Variables

__version__ = "0.1.0"

__all__ = [
    "DELIVERED",
    "BadInput",
    "ByteSize",
    "ConfigurationError",
    "Confirmation",
    "Delivery",
    "Duration",
    "EdgerouterError",
    "Failure",
    "Item",
    "Limits",
    "Message",
    "MessageTemplate",
    "Outcome",
    "PluginError",
    "Properties",
    "Rejected",
    "SecretMissing",
    "SecretStore",
    "SecretStoreConfig",
    "SecretStoreContext",
    "Section",
    "Sink",
    "SinkConfig",
    "SinkContext",
    "Source",
    "SourceConfig",
    "SourceContext",
    "Step",
    "StepConfig",
    "StepContext",
    "StepState",
    "TemplateText",
    "Throttled",
    "TopicCache",
    "Unauthorized",
    "Unavailable",
    "Variable",
    "Variables",
    "__version__",
]

_HOMES = (
    "errors",
    "message",
    "topic_cache",
    "variables",
    "section",
    "units",
    "outcome",
    "secrets",
    "source",
    "sink",
    "item",
    "step",
    "templates",
)
"""Modules with the names above; those that import least come first."""

RENAMED: dict[str, tuple[str, str]] = {}
"""Names that go: each with the one that replaces it, and the version that lacks it. See docs/reference/stability.md."""


def __getattr__(name: str) -> Any:
    """Import on first use, so that `edgerouter --version` need not load pydantic."""
    if name in RENAMED:
        new, version = RENAMED[name]
        message = f"edgerouter.{name} is now edgerouter.{new}; edgerouter {version} will not have the old name"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[__name__], new)
    for home in _HOMES if name in __all__ else ():
        found = import_module(f"edgerouter.{home}")
        if hasattr(found, name):
            value = globals()[name] = getattr(found, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
