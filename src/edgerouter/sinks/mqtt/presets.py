"""Brokers that are named by a device in place of an address, a client id, a user name and a password."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from edgerouter.section import Section
from edgerouter.tls import ReadableFile
from edgerouter.units import Duration

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._~%+-]*$"


class ClearBlade(Section):
    """A device of ClearBlade IoT Core, which speaks as Google's did."""

    project: str = Field(pattern=_NAME, examples=["plant"])
    """Project."""
    region: str = Field(default="us-central1", pattern=_NAME, examples=["europe-west1"])
    """Region of the registry."""
    registry: str = Field(pattern=_NAME, examples=["presses"])
    """Registry of the device."""
    device: str = Field(pattern=_NAME, examples=["edge-7"])
    """Id of the device."""
    key_file: ReadableFile = Field(examples=["/etc/edgerouter/device.key"])
    """PEM file of the device's private key."""
    algorithm: Literal["RS256", "ES256"] = "RS256"
    """Signature."""
    lifetime: Duration = Field(default=3600.0, ge=5, le=86_400)
    """Validity of a token. The connection is replaced after four fifths of it, between two messages."""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the sink that follow; those that are written count more."""
        place = f"projects/{self.project}/locations/{self.region}/registries/{self.registry}"
        return {
            "url": f"mqtts://{self.region}-mqtt.clearblade.com:8883",
            "client_id": f"{place}/devices/{self.device}",
            "username": "unused",
            "protocol": "3.1.1",
            "topic": f"/devices/{self.device}/events/{{topic}}",
            "jwt": {"algorithm": self.algorithm, "key_file": self.key_file, "audience": self.project, "lifetime": self.lifetime},
        }
