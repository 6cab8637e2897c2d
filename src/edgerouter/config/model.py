"""The configuration model: everything but the plugins' own fields, with its defaults and its user manual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, SecretStr, model_validator

from edgerouter.config.admin import AdminConfig
from edgerouter.config.digest import Digest
from edgerouter.config.shaping import ShapingTest, StepEntry
from edgerouter.config.telemetry import TelemetryConfig
from edgerouter.folder import FolderPath
from edgerouter.masking.models import KeepsItsSecrets
from edgerouter.secrets import SecretStore, SecretStoreConfig
from edgerouter.section import Section
from edgerouter.sink import Sink, SinkConfig
from edgerouter.source import Source, SourceConfig
from edgerouter.step import Step, StepConfig
from edgerouter.topics import TopicFilter
from edgerouter.units import ByteSize, Duration

PluginKind: TypeAlias = Literal["source", "sink", "step", "secret_store", "spool"]


class BatchPolicy(Section):
    """Size of one write, and the time to gather it; always clipped to the service's own limits."""

    max_messages: int = Field(default=1000, ge=1)
    """Most messages in one write."""
    max_bytes: ByteSize = Field(default=1024 * 1024, ge=1)
    """Most bytes in one write, as the sink counts them."""
    linger: Duration = 0.0
    """Longest time that a batch waits to fill, from its first message. With 0 a batch still fills while it waits behind another."""
    max_partitions: int = Field(default=1000, ge=1)
    """Batches that may fill at the same time, where a sink keeps partitions apart; beyond it the fullest is written early."""
    max_buffered_bytes: ByteSize = Field(default=32 * 1024**2, ge=1)
    """Most bytes in all filling batches together; beyond it the fullest is written early."""


class RetryPolicy(Section):
    """Retry of a failed write: exponential back-off with full jitter."""

    first_delay: Duration = 0.5
    """Upper bound of the first delay; it doubles with each attempt."""
    max_delay: Duration = 60.0
    """Upper bound of every delay. A longer wait that the service asks for is honoured, up to an hour. Where no connection can be
    made, the bound is a tenth of the time that the service has been away, and at least 2 s, if that is less."""
    give_up_after: Duration | None = Field(default=None, examples=["7d"])
    """Dead-letter a message that could not be delivered for this long; never by default."""
    plugin_bug_attempts: int = Field(default=5, ge=1)
    """Attempts after an exception that a sink should not raise, before the message is isolated and dead-lettered."""


class RatePolicy(Section):
    """An upper bound of the drain rate, so that a backlog does not fill the uplink."""

    messages: float | None = Field(default=None, gt=0, examples=[500])
    """Messages a second."""
    bytes: ByteSize | None = Field(default=None, ge=1, examples=["128KiB"])
    """Bytes a second, as the sink counts them."""


class SourcePolicies(Section):
    """Policies of every source, whatever its type."""

    steps: tuple[StepEntry, ...] = Field(default=(), max_length=50, examples=[[{"type": "filter", "topics": ["plant/#"]}]])
    """Steps before the spool, in order, for what should never be stored. Only those that need no earlier message work here."""
    expect: Mapping[TopicFilter, Annotated[Duration, Field(ge=1)]] = Field(
        default={}, max_length=200, examples=[{"plant/+/temp": "60s"}]
    )
    """Longest time between two messages, by topic filter, for example `{"plant/+/temp": 60s}`; a topic that stays silent longer is
    shown in the log, status, metrics and `/flowz`. Of several filters the shortest time counts. Retained messages do not count."""


class SinkPolicies(Section):
    """Policies of every sink, whatever its type."""

    topics: tuple[TopicFilter, ...] = Field(default=("#",), min_length=1, examples=[["plant/+/alarm"]])
    """MQTT topic filters, with `+` and `#`; a message that matches any of them goes to this sink."""
    steps: tuple[StepEntry, ...] = Field(default=(), max_length=50, examples=[[{"type": "drop_fields", "fields": ["debug"]}]])
    """Shaping of the messages before they are sent, in order; the spool keeps them as received."""
    batch: BatchPolicy = BatchPolicy()
    """Size of one write, and the time to gather it."""
    concurrency: int = Field(default=1, ge=1, le=1000)
    """Writes in flight at once; 1 keeps the order of all messages, more keep it only within what the sink orders by."""
    timeout: Duration = Field(default=30.0, gt=0)
    """Time that one write may take; then it counts as failed with an unknown outcome and is tried again."""
    retry: RetryPolicy = RetryPolicy()
    """Retry of a failed write."""
    drain: Literal["fifo", "live_first"] = "fifo"
    """After an outage: in order, or live messages first and the backlog in the background."""
    backlog_share: float = Field(default=0.5, gt=0, lt=1, examples=[0.2])
    """With `drain: live_first`: the share of batches that goes to the backlog while live messages wait too."""
    start: Literal["now", "oldest"] = "now"
    """First message for a sink that is new to the spool: the next one, or the oldest that the spool still holds."""
    rate: RatePolicy = RatePolicy()
    """An upper bound of the drain rate."""


class RetainPolicy(Section):
    """Delivered messages that stay in the spool for replay; none by default."""

    age: Duration = 0.0
    """Keep delivered messages this long."""
    bytes: ByteSize = 0
    """Keep at most this much of delivered messages; room is given up first when the spool fills."""


class SpoolSection(Section):
    """The store between the broker and the sinks, of whatever type."""

    type: str
    """The kind of spool."""
    path: FolderPath = Field(default=Path("/var/lib/edgerouter"), examples=["/data/edgerouter"])
    """Folder of the spool; made if it is missing. One router per folder. A `memory` spool has only its control socket there, and
    does without where the folder cannot be written."""
    max_bytes: ByteSize = Field(default=1024**3, ge=1024 * 1024)
    """Most bytes of the spool on disk (or in memory)."""
    on_full: Literal["block", "drop_oldest", "drop_newest"] = "block"
    """Behaviour when the spool is full. `block` stops acknowledging, so the broker keeps what it can; the others drop and
    count each loss."""
    retain: RetainPolicy = RetainPolicy()
    """Keep delivered messages for replay."""
    commit_interval: Duration = Field(default=0.02, le=10)
    """Least time between two commits under load; a message that comes in after a quiet time is committed at once, and so
    is what a broker with a small window waits for."""
    cache_bytes: ByteSize = 16 * 1024**2
    """Recent messages kept in memory, so that sinks that keep up never read the disk."""
    dead_letter_bytes: ByteSize = 64 * 1024**2
    """Most bytes of dead letters; beyond it the oldest are dropped and counted."""


class SpoolConfig(SpoolSection):
    """The store between the broker and the sinks."""

    type: Literal["sqlite", "memory"] = "sqlite"
    """`sqlite` is durable: a message is acknowledged once it is on disk. `memory` holds nothing over a restart: a message is
    acknowledged once every sink has settled it. A plugin may bring others."""
    max_messages: int | None = Field(default=None, ge=1, examples=[100000])
    """Most messages in a `memory` spool."""
    min_free_bytes: ByteSize = 64 * 1024**2
    """The spool counts as full when the file system has less free than this."""
    synchronous: Literal["full", "normal"] = "full"
    """`full` survives a power cut; `normal` survives a crash of the process and may lose the last commits at a power cut."""


class LogConfig(Section):
    """The router's log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is readable on a terminal and JSON elsewhere."""


class ShutdownConfig(Section):
    """Shutdown at SIGTERM and SIGINT."""

    grace: Duration = 10.0
    """Time to deliver what is in the spool; the rest stays there."""


class SecretsConfig(Section, KeepsItsSecrets):
    """Secrets that a secret store gave: while the store is down, the last value counts."""

    last_known: Literal["memory", "disk"] = "memory"
    """Place of the last value of each secret. `disk` keeps them encrypted, so that a device that boots offline
    starts."""
    key: SecretStr | None = None
    """With `disk`: the key, 32 bytes in URL-safe base64; `openssl rand -base64 32 | tr +/ -_` makes one."""
    key_file: Path | None = Field(default=None, examples=["/etc/edgerouter/secrets.key"])
    """Instead of `key`: a file that holds it."""
    file: Path | None = Field(default=None, examples=["/var/lib/edgerouter/last-known-secrets"])
    """With `disk`: the file; `last-known-secrets` in the spool's folder by default."""

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.last_known == "disk" and (self.key is None) == (self.key_file is None):
            raise ValueError("`last_known: disk` needs either `key` or `key_file`")
        return self


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "spool": SpoolConfig,
    "secrets": SecretsConfig,
    "admin": AdminConfig,
    "log": LogConfig,
    "shutdown": ShutdownConfig,
    "telemetry": TelemetryConfig,
}
"""Sections that one model each describes, in the order of the file."""
PLUGIN_SECTIONS: Final[Mapping[str, PluginKind]] = {"sources": "source", "sinks": "sink", "secret_stores": "secret_store"}
"""Sections that hold plugins by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """One source, sink or secret store of the configuration."""

    name: str
    plugin: type[Any]
    config: Any = field(repr=False)
    """The plugin's own fields; while `pending` is not empty it is a stand-in that only `references.resolve` makes whole."""
    raw: Mapping[str, Any] = field(repr=False)
    """The plugin's own fields as written, `${env:}` and `${file:}` resolved; what `config` is made from."""
    digest: Digest = field(repr=False)
    """Changes when, and only when, anything of its configuration changes; holds no secret."""
    type: str
    """The name of the plugin, as written in the file."""
    pending: Sequence[tuple[str, str]] = ()
    """References to secret stores in `raw`, as store and name of the secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredStep:
    """One step of a sink or source."""

    plugin: type[Step[Any]]
    type: str
    config: StepConfig = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSink(Configured):
    """One sink of the configuration."""

    plugin: type[Sink[Any]]
    config: SinkConfig = field(repr=False)
    policies: SinkPolicies
    steps: tuple[ConfiguredStep, ...] = ()
    provisional: bool = False
    """True for a stand-in until it is known whether the sink is wanted; the spool forgets it when a reload takes it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSource(Configured):
    """One source of the configuration."""

    plugin: type[Source[Any]]
    config: SourceConfig = field(repr=False)
    steps: tuple[ConfiguredStep, ...] = ()
    expect: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSecretStore(Configured):
    """One secret store that the configuration lists, or refers to by its type."""

    plugin: type[SecretStore[Any]]
    config: SecretStoreConfig = field(repr=False)
    listed: bool = True
    """False for a store that the router made for itself; no description shows it."""


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """A whole, valid configuration."""

    sources: tuple[ConfiguredSource, ...]
    sinks: tuple[ConfiguredSink, ...]
    spool: SpoolSection
    admin: AdminConfig
    log: LogConfig
    shutdown: ShutdownConfig
    host: str
    """The device's name; the host name unless the file says `host:`."""
    file: Path | None
    """The file that it was read from; `None` = environment only."""
    secret_stores: tuple[ConfiguredSecretStore, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Origin of each written value: `spool.path` -> `edgerouter.yaml:3:9` or a variable's name; defaults are not listed."""
    references: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values that came from somewhere secret: `sinks.alerts.token` -> `${env:TOKEN}`."""
    secrets: SecretsConfig = field(default_factory=SecretsConfig)
    off: tuple[str, ...] = ()
    """A line for each sink or store of which only some environment variables are set; it is left out, the others go on."""
    unread: tuple[str, ...] = ()
    """A line for each environment variable that looks misspelt."""
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    tests: tuple[ShapingTest, ...] = ()
    """Examples of what the steps make, for `edgerouter check`."""

    def members(self) -> Iterator[tuple[str, Configured]]:
        """Yield every source, sink and secret store, with the name of its section."""
        for section in PLUGIN_SECTIONS:
            yield from ((section, member) for member in getattr(self, section))

    def located(self, problem: str) -> str:
        """A problem that begins with the path of a value, with the place in front where that value was written."""
        path = problem.partition(": ")[0]
        inside = (origin for place, origin in self.origins.items() if place.startswith((f"{path}.", f"{path}[")))
        label = self.origins.get(path) or next(inside, None) or (str(self.file) if self.file is not None else "environment")
        return f"{label}: {problem}"
