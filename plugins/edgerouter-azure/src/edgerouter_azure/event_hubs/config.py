"""Configuration of the Event Hubs sink, and the SDK's settings derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from edgerouter import Duration, SinkConfig
from edgerouter.objects import KeyTemplate
from edgerouter_azure.connection_string import parts_of
from edgerouter_azure.credentials import SUFFIXES, AzureFields, awaits_secret


def _checked(text: str) -> str:
    KeyTemplate.parse(text, unique=False)
    return text


PartitionKey = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a partition-key template."""


class EventHubsConfig(AzureFields, SinkConfig):
    """Configuration of `azure-event-hubs`. The identity needs the role Azure Event Hubs Data Sender, or a policy with Send."""

    connection_string: SecretStr | None = None
    """Connection string of the namespace or of the hub (then with `EntityPath`), with a key or a shared access signature."""
    namespace: str | None = Field(default=None, examples=["plant"])
    """Instead of a connection string: the namespace, `plant` or `plant.servicebus.windows.net`, together with `credential`."""
    hub: str | None = Field(default=None, min_length=1, examples=["telemetry"])
    """The event hub; needed unless the connection string names one."""
    partition_key: PartitionKey | None = Field(default=None, examples=["{topic[1]}"])
    """Partition key, a template (docs/reference/templates.md) such as `{topic}` or `{topic[1]}`: events with the same key share a
    partition and keep their order, and each request carries events of one key. Without it the service spreads the requests over the
    partitions."""
    partition_id: str | None = Field(default=None, pattern=r"^\d+$", examples=["0"])
    """Send everything to this partition."""
    attributes: bool = True
    """Pass topic, qos, the retained flag and MQTT 5 user properties on, as application properties."""
    content_type: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+/[\x20-\x7e]+$", examples=["application/json"])
    """Content type of events whose message says none, such as `application/json`."""
    transport: Literal["amqp", "websocket"] = "amqp"
    """`amqp` uses port 5671; `websocket` uses port 443, where only that is open. A `proxy` needs `websocket`, and gets it."""
    endpoint: str | None = Field(default=None, examples=["sb://10.0.0.5:5671"])
    """Connect to this `host:port` instead of the namespace itself, for a private link or a gateway."""
    token_lifetime: Duration = Field(default=3600.0, ge=1)
    """Validity of a token made from a shared access key; it is renewed in time."""
    keep_alive: Duration = Field(default=30.0, gt=0)
    """Interval of heartbeats on an idle link; the service ends links that are silent for minutes."""
    connect_timeout: Duration = Field(default=20.0, gt=0)
    """Time to connect, log in and attach."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.connection_string is None) == (self.namespace is None):
            raise ValueError("either connection_string or namespace is needed")
        if self.partition_key is not None and self.partition_id is not None:
            raise ValueError("partition_key and partition_id exclude each other")
        if self.connection_string is None or not awaits_secret(self.connection_string):
            self.place()
        return self

    @property
    def service_urls(self) -> Sequence[str]:
        place = self.place()
        if self.endpoint is not None or place.emulator:
            return ()
        return (f"https://{place.host}",) if self.transport == "websocket" else (f"amqps://{place.host}",)

    def place(self) -> Place:
        """Address to connect to, with its key.

        Raises:
            ValueError: the connection string is not one, or no hub is named.
        """
        if self.connection_string is not None:
            place = _read(self.connection_string.get_secret_value())
        else:
            host = self.namespace or ""
            place = Place(host if "." in host else f"{host}.{SUFFIXES[self.cloud]['event-hubs']}")
        if self.hub is not None and place.hub and self.hub.lower() != place.hub.lower():
            raise ValueError(f"hub is {self.hub!r}, but the connection string is for {place.hub!r}")
        place.hub = self.hub or place.hub
        if not place.hub:
            raise ValueError("hub is needed: the connection string has no EntityPath")
        return place


@dataclass(slots=True)
class Place:
    """A hub, and how to get in."""

    host: str
    """Host name of the namespace, with the port of an emulator."""
    hub: str = ""
    policy: str = ""
    key: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    emulator: bool = False
    """No TLS, and the port of the endpoint counts."""


def _read(text: str) -> Place:
    parts = parts_of(text)
    host = urlsplit(parts.get("endpoint", "")).netloc
    policy, key, signature = (parts.get(f"sharedaccess{name}", "") for name in ("keyname", "key", "signature"))
    if not host:
        raise ValueError("the connection string has no Endpoint=sb://...")
    if bool(policy and key) == bool(signature):
        raise ValueError("the connection string needs SharedAccessKeyName and SharedAccessKey, or a SharedAccessSignature")
    emulator = parts.get("usedevelopmentemulator", "").lower() == "true"
    return Place(host, parts.get("entitypath", ""), policy, key, signature, emulator)


def client_options(config: EventHubsConfig, place: Place) -> dict[str, Any]:
    """Keyword arguments of the SDK's client; its own retries are off."""
    from azure.eventhub import TransportType  # noqa: PLC0415  (`check` and `schema` need no SDK)

    websocket = config.transport == "websocket" or config.proxy is not None
    options: dict[str, Any] = {
        "transport_type": TransportType.AmqpOverWebsocket if websocket else TransportType.Amqp,
        "retry_total": 0,
        "retry_backoff_factor": 0,
        "auth_timeout": config.connect_timeout,
        "use_tls": not place.emulator,
        "user_agent": "edgerouter",
    }
    if config.endpoint is not None:
        options["custom_endpoint_address"] = config.endpoint if "//" in config.endpoint else f"sb://{config.endpoint}"
    elif place.emulator and websocket:
        options["custom_endpoint_address"] = f"sb://{place.host}"
    if config.ca_file is not None:
        options["connection_verify"] = str(config.ca_file)
    if config.proxy is not None:
        proxy = urlsplit(config.proxy.get_secret_value())
        # the SDK joins these two to a URL for aiohttp, which reads scheme, user and password from it
        place_of_proxy = proxy.netloc.removesuffix(f":{proxy.port}")
        options["http_proxy"] = {"proxy_hostname": f"{proxy.scheme}://{place_of_proxy}", "proxy_port": proxy.port or 8080}
    return options
