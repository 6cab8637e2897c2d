"""Configuration of the IoT Core source."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from edgerouter import Duration
from edgerouter.receiving import ReceivingConfig
from edgerouter_aws.iot_core.config import IotCoreFields

RECEIVE_MAXIMUM: Final = 100
"""Unacknowledged messages that the service sends to a connection."""
_LONGEST_SESSION: Final = 7 * 86_400.0
_LONGEST: Final = 256
_MOST_FILTERS: Final = 50


def _filter(text: str) -> str:
    levels = text.split("/")
    misplaced = any(("+" in level and level != "+") or ("#" in level and level != "#") for level in levels) or "#" in levels[:-1]
    if not text or misplaced or "\0" in text or len(text.encode()) > _LONGEST:
        raise ValueError(f"{text!r} is not a topic filter: `+` stands for a whole level, `#` for the last ones, 256 bytes at most")
    return text


class IotCoreSourceConfig(IotCoreFields, ReceivingConfig):
    """Receives messages from AWS IoT Core."""

    topics: tuple[Annotated[str, AfterValidator(_filter)], ...] = Field(
        min_length=1, max_length=_MOST_FILTERS, examples=[["cmd/plant/edge-7/#"]]
    )
    """Topic filters to subscribe to, such as `cmd/plant/edge-7/#`."""
    qos: Literal[0, 1] = 1
    """Highest quality of service; 1 is acknowledged once the message is stored in the spool."""
    session_expiry: Duration = Field(default=86_400.0, ge=0, le=_LONGEST_SESSION)
    """Time for which the service keeps the session and its messages while the router is away (MQTT 5); with 3.1.1 an hour, unless
    the account says otherwise."""
    skip_own: bool = True
    """Skip messages that this router has published, which would circle. Recognised by the user property
    `edgerouter-id` (MQTT 5)."""

    @property
    def window(self) -> int:
        return RECEIVE_MAXIMUM
