"""A key vault that requests a token by challenge, like the real one, and checks it strictly."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from support.amqp.sas import TokenRefused, check_jwt
from support.azure.entra import TENANT, Entra

RESOURCE = "https://vault.azure.net"


@dataclass(slots=True)
class KeyVault:
    """A vault; `secrets` holds all versions of each, newest last."""

    entra: Entra
    secrets: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""
    reads: list[str] = field(default_factory=list)
    """Paths that were answered with a value."""
    challenges: int = 0
    fault: tuple[int, str, dict[str, str]] | None = None
    """Answer every authorized request with this status, error code and headers."""

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext) -> AsyncIterator[Self]:
        """Listen on https://localhost."""
        app = web.Application()
        app.router.add_get("/secrets/{name}/{version:[^/]*}", self._get)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"https://localhost:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _get(self, request: web.Request) -> web.Response:
        if not re.fullmatch(r"20\d\d-\d\d-\d\d(-preview\.\d)?|7\.\d", request.query.get("api-version", "")):
            return _error(400, "BadParameter", "api-version is needed")
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            self.challenges += 1
            challenge = f'Bearer authorization="{self.entra.url}/{TENANT}", resource="{RESOURCE}"'
            return _error(
                401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", {"WWW-Authenticate": challenge}
            )
        try:
            roles = check_jwt(authorization.removeprefix("Bearer "), self.entra.signing, RESOURCE)
        except TokenRefused as refusal:
            return _error(401, "Unauthorized", str(refusal))
        if "secrets/get" not in roles:
            return _error(403, "Forbidden", "Caller is not authorized to perform action on resource.")
        if self.fault:
            status, code, headers = self.fault
            return _error(status, code, "by the test", headers)
        return self._value(request.match_info["name"], request.match_info["version"])

    def _value(self, name: str, version: str) -> web.Response:
        versions = self.secrets.get(name, [])
        if not versions or (version and not (version.isdigit() and 1 <= int(version) <= len(versions))):
            return _error(404, "SecretNotFound", f"A secret with (name/id) {name}/{version} was not found in this key vault.")
        number = int(version) if version else len(versions)
        self.reads.append(f"{name}/{version}")
        return web.json_response(
            {
                "value": versions[number - 1],
                "id": f"{self.url}/secrets/{name}/{number}",
                "attributes": {"enabled": True, "created": 1795168800, "updated": 1795168800, "recoveryLevel": "Recoverable"},
            }
        )


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
