"""Identity of a device: connection string or names, and the shared access signatures made from its key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from math import ceil
from typing import Final
from urllib.parse import parse_qs, quote

from edgerouter_azure.connection_string import parts_of

API_VERSION: Final = "2021-04-12"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_DEVICE: Final = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}")
"""https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry#device-identity-properties"""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a hub, and its secret."""

    host: str
    """Host name of the hub."""
    id: str
    gateway: str = ""
    """Host name of an IoT Edge gateway to connect to instead."""
    key: bytes = field(default=b"", repr=False)
    signature: str = field(default="", repr=False)
    """A shared access signature made elsewhere."""
    x509: bool = False
    """The certificate is the password."""

    @property
    def username(self) -> str:
        """User name of the CONNECT: https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub."""
        return f"{self.host}/{self.id}/?api-version={API_VERSION}"

    def sign(self, lifetime: float) -> str:
        """Return a shared access signature that lasts so many seconds; the one given, where there is no key."""
        if not self.key:
            return self.signature
        resource = quote(f"{self.host}/devices/{self.id}", safe="")
        expires = ceil(time.time() + lifetime)
        signature = base64.b64encode(hmac.digest(self.key, f"{resource}\n{expires}".encode(), hashlib.sha256))
        return f"SharedAccessSignature sr={resource}&sig={quote(signature, safe='')}&se={expires}"

    def seconds_left(self) -> float | None:
        """Return the seconds until a signature that was made elsewhere ends."""
        ends = parse_qs(self.signature.removeprefix("SharedAccessSignature ")).get("se", [""])[0]
        return float(ends) - time.time() if ends.isdigit() else None


def parse_connection_string(text: str) -> Device:
    """Take the connection string of a device apart.

    Raises:
        ValueError: not the connection string of a device; the message quotes no part of it.
    """
    parts = parts_of(text, with_digits={"x509"})
    if "sharedaccesskeyname" in parts:
        raise ValueError("this is the connection string of the hub; use that of a device, which holds DeviceId=")
    if "moduleid" in parts:
        raise ValueError("modules are not supported; use the connection string of a device, without ModuleId=")
    key, signature = parts.get("sharedaccesskey", ""), parts.get("sharedaccesssignature", "")
    x509 = parts.get("x509", "").lower() == "true"
    if sum(map(bool, (key, signature, x509))) != 1:
        raise ValueError("the connection string needs one of SharedAccessKey, SharedAccessSignature and x509=true")
    return Device(
        checked_host(parts.get("hostname", "")),
        checked_id(parts.get("deviceid", "")),
        parts.get("gatewayhostname", ""),
        _decoded(key),
        signature,
        x509,
    )


def checked_host(host: str) -> str:
    """Return the host name of a hub.

    Raises:
        ValueError: not a host name.
    """
    if not _HOST.fullmatch(host):
        raise ValueError("the hub's host name is missing or not one, such as plant.azure-devices.net (HostName=)")
    return host


def checked_id(device: str) -> str:
    """Return the id of a device.

    Raises:
        ValueError: not one that a hub takes.
    """
    if not _DEVICE.fullmatch(device):
        raise ValueError("the device's id is missing or holds characters that a hub does not take (DeviceId=)")
    return device


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ValueError("SharedAccessKey is not base64; was it cut off when it was copied?") from None
