"""Secret Manager over REST: versions, `latest`, permissions, disabled versions."""

from __future__ import annotations

import base64

from aiohttp import web

from support.google.identity import Identity
from support.google.service import GoogleError, GoogleService

ACCESS = "secretmanager.versions.access"


class SecretManagerServer(GoogleService):
    """The service. `secrets` maps a resource name to its versions, oldest first; `None` = disabled."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self.secrets: dict[str, list[bytes | None]] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        name = r"projects/[^/]+(?:/locations/[^/]+)?/secrets/[^/]+"
        self.route("GET", rf"/v1/(?P<secret>{name})/versions/(?P<version>[^/:]+):access", self._access)

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.method == "GET"

    async def _access(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        secret, version = path["secret"], path["version"]
        self.need(request, ACCESS, secret)
        if secret not in self.secrets:
            raise GoogleError(404, f"Secret [{secret}] not found or has no versions.")
        versions = self.secrets[secret]
        number = (
            len(versions)
            if version == "latest"
            else self.aliases.get((secret, version)) or (int(version) if version.isdecimal() else 0)
        )
        if not 1 <= number <= len(versions):
            raise GoogleError(404, f"Secret Version [{secret}/versions/{version}] not found.")
        value = versions[number - 1]
        if value is None:
            raise GoogleError(400, f"Secret Version [{secret}/versions/{number}] is in DISABLED state.", code="FAILED_PRECONDITION")
        data = base64.b64encode(value).decode()
        return web.json_response({"name": f"{secret}/versions/{number}", "payload": {"data": data, "dataCrc32c": "0"}})
