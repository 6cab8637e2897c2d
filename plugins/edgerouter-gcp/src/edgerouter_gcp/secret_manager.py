"""Secret store `gcp-secret-manager`: `${gcp-secret-manager:name}` in the configuration."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import msgspec
from gcloud.aio.auth import AioSession
from pydantic import Field

from edgerouter import SecretMissing, SecretStore, SecretStoreConfig, SecretStoreContext, Unauthorized, Unavailable
from edgerouter_gcp.connection import SECONDS_TO_OPEN, Connection, connect
from edgerouter_gcp.credentials import GoogleFields

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_ROLE = "roles/secretmanager.secretAccessor"
_NAME = re.compile(r"(?P<secret>[A-Za-z0-9_-]{1,255})(?:[@/](?:versions/)?(?P<version>[A-Za-z0-9_-]+))?")
_FULL_NAME = re.compile(r"projects/[^/]+/(?:locations/[^/]+/)?secrets/[^/]+(?P<version>/versions/[^/]+)?")


class SecretManagerConfig(GoogleFields, SecretStoreConfig):
    """Configuration of `gcp-secret-manager`. The account needs roles/secretmanager.secretAccessor on the secrets."""

    location: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$", examples=["europe-west3"])
    """Region of regional secrets, such as `europe-west3`. Default: secrets that are replicated by Google."""


class _Payload(msgspec.Struct):
    data: str = ""


class _Access(msgspec.Struct):
    payload: _Payload


class SecretManagerStore(SecretStore[SecretManagerConfig]):
    """Reads `name`, `name@version` (a number or an alias), or a secret's full resource name."""

    def __init__(self, connection: Connection, location: str | None) -> None:
        self._connection = connection
        self._session = AioSession(connection.session)
        self._location = location

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SecretManagerConfig, context: SecretStoreContext) -> AsyncIterator[Self]:  # noqa: ARG003  (reading disturbs nothing)
        root = (
            f"https://secretmanager.{config.location}.rep.googleapis.com"
            if config.location
            else "https://secretmanager.googleapis.com"
        )
        async with connect(config, scopes=_SCOPES, endpoint=root) as connection:
            yield cls(connection, config.location)

    async def get(self, name: str) -> str:
        doing = f"read secret {name}"
        missing = SecretMissing(f"{doing}: there is no such secret or version")
        with self._connection.of_service(doing, role=f"{_ROLE} on the secret", missing=missing):
            async with asyncio.timeout(SECONDS_TO_OPEN):
                url = f"{self._connection.endpoint}/v1/{await self._resource(name)}:access"
                response = await self._session.get(url, headers=await self._connection.headers())
                body = await response.read()
        self._connection.token.accepted()
        try:
            data = b64decode(msgspec.json.decode(body, type=_Access).payload.data, validate=True)
        except ValueError as error:  # msgspec's and base64's errors both are
            raise Unavailable(f"{doing}: the answer is not Secret Manager's ({type(error).__name__})") from None
        try:
            # most are made with `echo ... | gcloud secrets versions add`, which leaves a line break that no user meant
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Unauthorized(f"{doing}: it is not text") from None

    async def _resource(self, name: str) -> str:
        if match := _FULL_NAME.fullmatch(name):
            return name if match["version"] else f"{name}/versions/latest"
        match = _NAME.fullmatch(name)
        if match is None:
            raise Unauthorized(f"{name!r} is not the name of a secret; write name, name@version, or projects/P/secrets/S")
        place = f"/locations/{self._location}" if self._location else ""
        project = await self._connection.project()
        return f"projects/{project}{place}/secrets/{match['secret']}/versions/{match['version'] or 'latest'}"
