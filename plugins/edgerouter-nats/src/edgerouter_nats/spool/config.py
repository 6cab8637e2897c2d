"""Configuration of the spool that several routers share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from edgerouter.config.model import SpoolSection
from edgerouter.masking.models import KeepsItsSecrets
from edgerouter.templates import parse
from edgerouter.units import Duration
from edgerouter_nats.settings import NatsSettings


class JetStreamSpoolConfig(SpoolSection, NatsSettings, KeepsItsSecrets):
    """One log on a JetStream cluster, shared by several routers."""

    type: Literal["jetstream"] = "jetstream"
    """The log is a JetStream stream. A message is acknowledged once the stream has it."""
    stream: str = Field(default="EDGEROUTER", pattern=r"^[A-Za-z0-9_-]{1,32}$", examples=["PLANT"])
    """Name of the stream, the same for all routers that share the log; made if it is missing. The names of what stands beside it,
    subjects, positions and dead letters, begin with it."""
    router: str | None = Field(default=None, min_length=1, max_length=64, examples=["edge-7"])
    """Name of this router among them, the same at every start; the device's name by default."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Servers that hold a copy of each message."""
    durability: Literal["synced", "replicated"] = "synced"
    """`synced`: every server that holds the stream writes to its disk before it acknowledges, which is proven at the start.
    `replicated`: three servers or more have the message in memory, and a power cut of most of them at once may lose the last
    seconds."""
    monitor: tuple[Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+/?$")], ...] = Field(
        default=(), max_length=16, examples=[["http://nats-1.plant.example:8222"]]
    )
    """Monitoring address of each server, such as `http://host:8222`, where `sync_interval: always` is proven."""
    shards: int = Field(default=1, ge=1, le=64)
    """Parts of each sink's messages that different routers may drain at the same time; the same for all routers. With 1, one
    router drains a sink, and all its messages keep their order."""
    shard_by: str = Field(default="{topic}", examples=["{topic[1]}"])
    """Template of the key that decides the shard: messages of one key keep their order. Built of the topic, such as
    `{topic[1]}`."""
    lease: Duration = Field(default=10.0, ge=1, le=300)
    """Time without a sign of life after which another router takes over what this one drains."""

    @field_validator("shard_by")
    @classmethod
    def _is_of_the_topic(cls, value: str) -> str:
        parse(value, ("topic",))
        return value

    @model_validator(mode="after")
    def _replicated_means_three(self) -> Self:
        if self.durability == "replicated" and self.replicas < 3:
            raise ValueError("`durability: replicated` needs `replicas: 3` or more")
        return self
