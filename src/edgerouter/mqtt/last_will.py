"""Message that the broker publishes when the connection is lost."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import Field

from edgerouter.section import Section
from edgerouter.topics import TopicName


class Will(msgspec.Struct, frozen=True):
    """A last will as the connection sends it."""

    topic: str
    payload: str
    qos: int
    retain: bool


class LastWill(Section):
    """A message that the broker publishes when the connection is lost."""

    topic: TopicName = Field(examples=["routers/edge-7"])
    """Topic to publish to; no wildcards."""
    payload: str = Field(default="", examples=["offline"])
    """Payload to publish."""
    qos: Literal[0, 1, 2] = 1
    """Quality of service."""
    retain: bool = False
    """Publish as a retained message."""

    def as_will(self) -> Will:
        """Return it as the connection sends it."""
        return Will(self.topic, self.payload, self.qos, self.retain)
