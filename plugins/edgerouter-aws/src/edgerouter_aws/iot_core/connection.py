"""Connection to an endpoint of AWS IoT Core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from edgerouter.mqtt import Login, MakeLogin, Policy, Publisher
from edgerouter_aws.errors import Call, of_service
from edgerouter_aws.iot_core.config import IotCoreFields
from edgerouter_aws.iot_core.signing import signed_path
from edgerouter_aws.session import read_credentials

IN_FLIGHT: Final = 100
"""Publishes without their PUBACK, for each connection and direction."""
PUBLISHES_PER_SECOND: Final = 100
BYTES_PER_SECOND: Final = 512 * 1024
"""https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits"""
_WEBSOCKET_SECONDS: Final = 23 * 3600
"""The service ends a WebSocket after a day."""


@asynccontextmanager
async def connecting(fields: IotCoreFields, client_id: str, name: str, *, retains: bool = False) -> AsyncIterator[Publisher]:
    """Yield a publisher, and disconnect it at the end.

    Args:
        fields: name the endpoint.
        client_id: of the connection.
        name: for the names of tasks.
        retains: some messages are to be retained.
    """
    policy = Policy(
        client_id,
        1,
        IN_FLIGHT,
        retains=retains,
        publishes_per_second=PUBLISHES_PER_SECOND,
        bytes_per_second=BYTES_PER_SECOND,
    )
    login = None if fields.certificate is not None else await _signing(fields)
    publisher = Publisher(fields.settings(), policy, fields.protocol, name, make_login=login)
    try:
        yield publisher
    finally:
        await publisher.close()


async def _signing(fields: IotCoreFields) -> MakeLogin:
    call = Call(f"IoT Core at {fields.endpoint}", "iot:Connect")
    credentials = await read_credentials(fields, call)

    async def login() -> Login:
        with of_service(call):
            keys = await credentials.get_frozen_credentials()
        path = signed_path(
            fields.endpoint,
            fields.signing_region or "",
            datetime.now(UTC),
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            token=keys.token,
        )
        return Login(path=path, headers={"Host": fields.endpoint}, lasts=_WEBSOCKET_SECONDS)

    return login
