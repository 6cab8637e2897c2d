"""One connection for a device: a hub ends it when the same device connects again, so that sink and source share it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from edgerouter import Throttled, Unauthorized, Unavailable
from edgerouter.mqtt import Answer, Link, Login, Policy, Publisher, Result
from edgerouter.receiving import Subscription
from edgerouter_azure.errors import CLOCK_HINT
from edgerouter_azure.iot_hub.config import DeviceFields

_IN_FLIGHT: Final = 100
_RENEW_AFTER: Final = 0.8
"""Share of a token's life; the hub ends the connection when it is over."""
_HINT: Final = "is the key or certificate right, is the device registered and enabled, and "


class DeviceConnection:
    """A device's connection, made anew when it was lost or its token ends.

    Args:
        fields: name the device.
    """

    def __init__(self, fields: DeviceFields) -> None:
        self.device = fields.device()
        settings = fields.settings()
        self.where = f"IoT Hub {self.device.host}"
        self._lifetime = fields.token_lifetime
        policy = Policy(self.device.id, 1, _IN_FLIGHT, retains=False)
        self._publisher = Publisher(settings, policy, "3.1.1", f"IoT Hub device {self.device.id}", make_login=self._login)

    async def connected(self) -> Link:
        """Return the connection.

        Raises:
            Unavailable: the hub is not there, or refuses us.
        """
        try:
            return await self._publisher.connected()
        except Unauthorized as error:
            raise Unauthorized(f"{error}; {_HINT}{CLOCK_HINT}") from None

    @asynccontextmanager
    async def receiving(self, subscription: Subscription) -> AsyncIterator[None]:
        """Receive until the context exits."""
        self._publisher.subscribe(subscription)
        try:
            async with subscription.running(self.connected):
                yield
        finally:
            self._publisher.subscribe(None)

    async def close(self) -> None:
        """Disconnect."""
        await self._publisher.close()

    async def _login(self) -> Login:
        device = self.device
        if device.x509:
            return Login(device.username)
        lasts = self._lifetime if device.key else device.seconds_left()
        if lasts is not None and lasts <= 0:
            raise Unauthorized(f"the shared access signature for {device.host} has expired; or: {CLOCK_HINT}")
        return Login(device.username, device.sign(self._lifetime), lasts=None if lasts is None else lasts * _RENEW_AFTER)


def as_throttled(result: Result, link: Link) -> Result:
    """Read a connection that the hub has closed without a word while messages were in flight: it does so when it throttles."""
    if isinstance(result, Answer) or not isinstance(result, Unavailable) or not link.hung_up:
        return result
    return Throttled(f"{result}: the hub closed the connection, as it does when it throttles or the day's quota is used up")


_open: dict[tuple[str, str], tuple[DeviceFields, DeviceConnection, int]] = {}


@asynccontextmanager
async def sharing(fields: DeviceFields) -> AsyncIterator[DeviceConnection]:
    """Return the device's connection, the same for all who name the device; the last one closes it.

    Raises:
        Unauthorized: the same device is in use with other settings.
    """
    device = fields.device()
    key = device.host.lower(), device.id
    theirs, connection, users = _open.get(key) or (fields, DeviceConnection(fields), 0)
    for name in DeviceFields.model_fields:
        if getattr(theirs, name) != getattr(fields, name):
            raise Unauthorized(f"{device.id} is used twice with different `{name}`; a hub takes one connection of a device")
    _open[key] = theirs, connection, users + 1
    try:
        yield connection
    finally:
        theirs, connection, users = _open[key]
        if users > 1:
            _open[key] = theirs, connection, users - 1
        else:
            del _open[key]
            await connection.close()
