"""Microsoft Entra ID for tests: issues tokens for client secrets, certificates and federated tokens, and to managed identities."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from support.amqp.sas import make_jwt

TENANT = "6f1d2c3a-0000-4000-8000-000000000001"
CLIENT = "6f1d2c3a-0000-4000-8000-000000000002"
CLIENT_SECRET = "the-secret-of-the-application"


@dataclass(slots=True)
class Entra:
    """The login service of one tenant with one application."""

    signing: str = "what the test's services trust"
    roles: tuple[str, ...] = ("Send", "secrets/get")
    """Permissions of the tokens."""
    lifetime: float = 3600.0
    federated_token: str = "token-of-a-service-account"
    url: str = ""
    managed_url: str = ""
    """Endpoint for managed identities, without TLS as on a real host."""
    requests: list[dict[str, str]] = field(default_factory=list)
    """Forms of all token requests, including secrets."""
    refuse: tuple[int, str] | None = None
    """Answer with this status and error text."""

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext) -> AsyncIterator[Self]:
        """Listen on https://localhost."""
        app = web.Application()
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._issue)
        app.router.add_get("/managed", self._managed)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.managed_url = f"http://127.0.0.1:{runner.addresses[1][1]}/managed"
        self.url = f"https://localhost:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _issue(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append(form)
        if self.refuse:
            return _refusal(*self.refuse)
        if request.match_info["tenant"] != TENANT or form.get("client_id") != CLIENT:
            return _refusal(400, "AADSTS700016: Application was not found in the directory.")
        assertion = form.get("client_assertion", "")
        if assertion and assertion != self.federated_token and assertion.count(".") != 2:
            return _refusal(401, "AADSTS700211: No matching federated identity record found.")
        if not assertion and form.get("client_secret") != CLIENT_SECRET:
            return _refusal(401, "AADSTS7000215: Invalid client secret provided.")
        return self._token(form["scope"].removesuffix("/.default"))

    async def _managed(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.query))
        if "X-IDENTITY-HEADER" not in request.headers:
            return web.Response(status=401)
        return self._token(request.query["resource"])

    def _token(self, audience: str) -> web.Response:
        expires = time.time() + self.lifetime
        token = make_jwt(self.signing, audience, self.roles, expires)
        told = {"token_type": "Bearer", "expires_in": int(self.lifetime), "expires_on": str(int(expires)), "access_token": token}
        told["resource"] = audience
        return web.json_response(told)


def _refusal(status: int, text: str) -> web.Response:
    body = {"error": "invalid_client", "error_description": text, "error_codes": [0]}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
