"""Configuration of the Event Hubs source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from edgerouter import Duration
from edgerouter.receiving import ReceivingConfig
from edgerouter_azure.credentials import AzureFields
from edgerouter_azure.event_hubs.checkpoints import CheckpointStoreConfig
from edgerouter_azure.event_hubs.config import EventHubsConfig

_OF_THE_HUB = ("connection_string", "namespace", "hub", "transport", "endpoint", "token_lifetime", "connect_timeout")


class EventHubsSourceConfig(AzureFields, ReceivingConfig):
    """Configuration of the source `azure-event-hubs`. It needs the role Azure Event Hubs Data Receiver, or a policy with Listen."""

    connection_string: SecretStr | None = None
    """Connection string of the namespace or of the hub (then with `EntityPath`), with a key or a shared access signature."""
    namespace: str | None = Field(default=None, examples=["plant"])
    """Instead of a connection string: the namespace, `plant` or `plant.servicebus.windows.net`, together with `credential`."""
    hub: str | None = Field(default=None, min_length=1, examples=["commands"])
    """The event hub; needed unless the connection string names one."""
    consumer_group: str = Field(default="$Default", min_length=1, examples=["routers"])
    """Consumer group. Each router and each other reader needs its own: every reader of a group receives all events."""
    partitions: tuple[str, ...] | None = Field(default=None, examples=[["0", "1"]])
    """Receive from these partitions only; by default from all."""
    start: Literal["now", "oldest"] = "now"
    """Start in a partition without a checkpoint: with new events, or with the oldest event."""
    checkpoint_store: CheckpointStoreConfig | None = None
    """Keep checkpoints in Blob Storage too, as Azure's own clients do; by default only in the source's folder beside the spool."""
    checkpoint_interval: Duration = Field(default=1.0, gt=0)
    """Interval between checkpoints. A crash is not the worse for a long one, unless the spool's disk is lost with it."""
    skip_own: bool = False
    """Skip events that this router has sent to the hub. Recognised by the message id, which the sink azure-event-hubs sets."""
    prefetch: int = Field(default=300, ge=1, le=10_000)
    """Events that the service may send ahead, for each partition."""
    transport: Literal["amqp", "websocket"] = "amqp"
    """`amqp` uses port 5671; `websocket` uses port 443, where only that is open. A `proxy` needs `websocket`, and gets it."""
    endpoint: str | None = Field(default=None, examples=["sb://10.0.0.5:5671"])
    """Connect to this `host:port` instead of the namespace itself, for a private link or a gateway."""
    token_lifetime: Duration = Field(default=3600.0, ge=1)
    """Validity of a token made from a shared access key; it is renewed in time."""
    keep_alive: Duration = Field(default=30.0, gt=0)
    """Interval of heartbeats on a link while the router takes nothing. A service that is silent for three times as long is
    taken to be gone, and is connected to again."""
    connect_timeout: Duration = Field(default=20.0, gt=0)
    """Time to connect, log in and attach."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        self.as_sink_config()
        if self.checkpoint_store is not None:
            self.checkpoint_store.as_blob_config(self.identity())
        return self

    @property
    def service_urls(self) -> Sequence[str]:
        return self.as_sink_config().service_urls

    def as_sink_config(self) -> EventHubsConfig:
        """Return the same hub and identity in the form of the sink's configuration.

        Raises:
            ValueError: they do not fit together.
        """
        return EventHubsConfig(**{name: getattr(self, name) for name in _OF_THE_HUB}, **self.identity())

    def identity(self) -> dict[str, Any]:
        """Return the identity in the form of the sinks' configuration."""
        return {name: getattr(self, name) for name in AzureFields.model_fields}
