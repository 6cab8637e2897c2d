"""edgerouter: a message router for edge devices. These are the names for plugin authors; everything else is the engine."""

from edgerouter.errors import (
    ConfigurationError,
    EdgerouterError,
    MessageRejected,
    PluginError,
    SinkThrottled,
    SinkUnauthorized,
    SinkUnavailable,
    SourceUnavailable,
)
from edgerouter.message import Message, Properties
from edgerouter.secrets import SecretStore, SecretStoreConfig
from edgerouter.sink import Failure, Limits, Sink, SinkConfig, SinkContext
from edgerouter.source import Delivery, Source, SourceConfig, SourceContext
from edgerouter.units import ByteSize, Duration

__version__ = "0.1.0"

__all__ = [
    "ByteSize",
    "ConfigurationError",
    "Delivery",
    "Duration",
    "EdgerouterError",
    "Failure",
    "Limits",
    "Message",
    "MessageRejected",
    "PluginError",
    "Properties",
    "SecretStore",
    "SecretStoreConfig",
    "Sink",
    "SinkConfig",
    "SinkContext",
    "SinkThrottled",
    "SinkUnauthorized",
    "SinkUnavailable",
    "Source",
    "SourceConfig",
    "SourceContext",
    "SourceUnavailable",
    "__version__",
]
