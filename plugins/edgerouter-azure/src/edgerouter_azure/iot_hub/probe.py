"""Asks a hub whether it lets a device in, without ending the connection that a running router has with it.

The request completes a cloud-to-device message that does not exist: a hub that lets us in answers that there is none.
https://learn.microsoft.com/rest/api/iothub/device/complete-device-bound-notification
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp

from edgerouter import Throttled, Unauthorized, Unavailable
from edgerouter.http_client import bounded, retry_seconds
from edgerouter_azure.errors import CLOCK_HINT, translate_at_opening
from edgerouter_azure.iot_hub.config import DeviceFields

_API_VERSION: Final = "2020-03-13"
_NO_MESSAGE: Final = "00000000-0000-0000-0000-000000000000"
_SECONDS: Final = 10.0


async def probe(fields: DeviceFields) -> None:
    """Raise what the hub says about the device.

    Raises:
        Unavailable: the hub is not there, or refuses us.
    """
    device = fields.device()
    place = fields.endpoint or device.gateway or device.host
    if fields.transport == "mqtt":
        place = place.rpartition(":")[0] or place  # the port is that of MQTT
    url = f"https://{place}/devices/{device.id}/messages/deviceBound/{_NO_MESSAGE}?api-version={_API_VERSION}"
    headers = {} if device.x509 else {"Authorization": device.sign(fields.token_lifetime)}
    proxy = fields.proxy.get_secret_value() if fields.proxy is not None else None
    doing = f"look at device {device.id} of {device.host}"
    if proxy is not None and proxy.startswith("socks"):
        return  # what these requests are made with does not speak SOCKS
    try:
        context = await asyncio.to_thread(_context, fields)
        connector = bounded(aiohttp.TCPConnector(ssl=context))
        timeout = aiohttp.ClientTimeout(_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.delete(url, headers=headers, proxy=proxy) as answer,
        ):
            status, wait = answer.status, retry_seconds(answer.headers.get("Retry-After"))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise translate_at_opening(error, doing) from None
    if status in {401, 403, 404}:
        raise Unauthorized(f"{doing}: {status}; is the key or certificate right, is the device registered, and {CLOCK_HINT}")
    if status == 429:
        raise Throttled(f"{doing}: {status}", retry_after=wait)
    if status >= 500:
        raise Unavailable(f"{doing}: {status}", retry_after=wait)


def _context(fields: DeviceFields) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=fields.ca_file)
    if fields.certificate is not None:
        password = fields.key_password.get_secret_value() if fields.key_password is not None else ""
        context.load_cert_chain(fields.certificate, fields.key_file, password)
    return context
