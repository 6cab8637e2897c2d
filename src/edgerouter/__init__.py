"""edgerouter: a message router for edge devices. These are the names for plugin authors; everything else is the engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgerouter.errors import (
        ConfigurationError,
        EdgerouterError,
        PluginError,
        Rejected,
        SecretMissing,
        Throttled,
        Unauthorized,
        Unavailable,
    )
    from edgerouter.message import Message, Properties
    from edgerouter.secrets import SecretStore, SecretStoreConfig, SecretStoreContext
    from edgerouter.sink import DELIVERED, Failure, Limits, Outcome, Sink, SinkConfig, SinkContext
    from edgerouter.source import Confirmation, Delivery, Source, SourceConfig, SourceContext
    from edgerouter.templates import MessageTemplate, TemplateText
    from edgerouter.topic_cache import TopicCache
    from edgerouter.units import ByteSize, Duration
    from edgerouter.variables import Variable, Variables

__version__ = "0.1.0"

__all__ = [
    "DELIVERED",
    "ByteSize",
    "ConfigurationError",
    "Confirmation",
    "Delivery",
    "Duration",
    "EdgerouterError",
    "Failure",
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
    "Sink",
    "SinkConfig",
    "SinkContext",
    "Source",
    "SourceConfig",
    "SourceContext",
    "TemplateText",
    "Throttled",
    "TopicCache",
    "Unauthorized",
    "Unavailable",
    "Variable",
    "Variables",
    "__version__",
]

_MODULES = {
    "edgerouter.errors": (
        "ConfigurationError",
        "EdgerouterError",
        "PluginError",
        "Rejected",
        "SecretMissing",
        "Throttled",
        "Unauthorized",
        "Unavailable",
    ),
    "edgerouter.message": ("Message", "Properties"),
    "edgerouter.secrets": ("SecretStore", "SecretStoreConfig", "SecretStoreContext"),
    "edgerouter.sink": ("DELIVERED", "Failure", "Limits", "Outcome", "Sink", "SinkConfig", "SinkContext"),
    "edgerouter.source": ("Confirmation", "Delivery", "Source", "SourceConfig", "SourceContext"),
    "edgerouter.templates": ("MessageTemplate", "TemplateText"),
    "edgerouter.topic_cache": ("TopicCache",),
    "edgerouter.units": ("ByteSize", "Duration"),
    "edgerouter.variables": ("Variable", "Variables"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `edgerouter --version` need not load pydantic."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
