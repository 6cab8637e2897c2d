"""Access of sink and source to Pub/Sub: the endpoint, and a check at the start that a topic or subscription may be used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Self

import msgspec
from gcloud.aio.auth import AioSession
from pydantic import Field, model_validator

from edgerouter import Unauthorized
from edgerouter_gcp.connection import SECONDS_TO_OPEN, Connection, connect
from edgerouter_gcp.credentials import GoogleFields

_SCOPES = ("https://www.googleapis.com/auth/pubsub",)


class PubsubFields(GoogleFields):
    """Fields that the sink and the source have in common."""

    region: str | None = Field(default=None, pattern=r"^[a-z]+-[a-z]+[0-9]+$", examples=["europe-west3"])
    """Use this region's endpoint, such as `europe-west1`; ordering needs all publishers of a key in one region."""

    @property
    def root(self) -> str:
        """URL of the service, unless `endpoint` names another."""
        return f"https://{self.region}-pubsub.googleapis.com" if self.region else "https://pubsub.googleapis.com"

    @property
    def service_urls(self) -> Sequence[str]:
        return () if self.endpoint else (self.root,)

    @model_validator(mode="after")
    def _one_endpoint(self) -> Self:
        if self.region is not None and self.endpoint is not None:
            raise ValueError("region and endpoint exclude each other")
        return self


class Use(NamedTuple):
    """Intended use of a resource."""

    kind: str
    """`topic` or `subscription`."""
    verb: str
    """Such as `publishing to`."""
    permission: str
    role: str


def open_pubsub(fields: PubsubFields) -> AbstractAsyncContextManager[Connection]:
    """Open a connection, without a request."""
    return connect(fields, scopes=_SCOPES, endpoint=fields.root, emulator_variable="PUBSUB_EMULATOR_HOST")


def client_arguments(connection: Connection) -> dict[str, Any]:
    """Return the arguments of gcloud-aio's clients."""
    return {
        "session": connection.session,
        "token": connection.token,
        "api_root": _root(connection),
        "api_is_dev": connection.anonymous,
    }


async def full_name(connection: Connection, name: str, use: Use) -> str:
    """Return `projects/<project>/topics/<name>`, or the same of a subscription."""
    return name if "/" in name else f"projects/{await connection.project()}/{use.kind}s/{name}"


async def check_use(connection: Connection, resource: str, use: Use) -> None:
    """Check that a resource may be used.

    Raises:
        Unavailable: it may not, or the service cannot be reached.
    """
    doing, session = f"open {resource}", AioSession(connection.session)
    url = f"{_root(connection)}/{resource}"
    missing = Unauthorized(f"{doing}: there is no such {use.kind}; create it, or look at its name and project")
    role = f"{use.role} on the {use.kind}, which may also be missing,"
    with connection.of_service(doing, role=role, missing=missing):
        async with asyncio.timeout(SECONDS_TO_OPEN):
            headers = {"Content-Type": "application/json", **await connection.headers()}
            if not connection.anonymous:  # emulators do not know permissions
                # needs no permission itself, unlike looking at the resource
                wanted = msgspec.json.encode({"permissions": [use.permission]})
                answer = await session.post(f"{url}:testIamPermissions", data=wanted, headers=headers)
                allowed = (await answer.json()).get("permissions", ())
                connection.token.accepted()
                if use.permission in allowed:
                    return
            await (await session.get(url, headers=headers)).read()
    if not connection.anonymous:
        grant = f"grant {use.role} on the {use.kind} to {connection.token.identity}"
        raise Unauthorized(f"{doing}: the {use.kind} is there, {use.verb} it is not allowed: {grant}")


def _root(connection: Connection) -> str:
    return f"{connection.endpoint.removesuffix('/v1')}/v1"
