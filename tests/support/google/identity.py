"""Identity services in one HTTP server: the OAuth token endpoint, workload identity, impersonation, and the metadata server."""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "plant"
ACCOUNT = "router@plant.iam.gserviceaccount.com"
MACHINE = "machine@plant.iam.gserviceaccount.com"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SKEW = 300
_EVERYTHING = "https://www.googleapis.com/auth/cloud-platform"
_FOR_IAM = {_EVERYTHING, "https://www.googleapis.com/auth/iam"}
"""https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken"""
_TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


def new_key() -> rsa.RSAPrivateKey:
    """Generate a private key, which takes a tenth of a second."""
    return rsa.generate_private_key(65537, 2048)


@cache
def known_key() -> rsa.RSAPrivateKey:
    """Return the key of the account, generated once in a process."""
    return new_key()


def pem(key: rsa.RSAPrivateKey) -> str:
    """Return the key as in a service account's file."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class Identity:
    """Issues access tokens that expire, and holds the permissions of each account."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.key = key
        self.keys = {ACCOUNT: key.public_key()}
        self.grants: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.impersonators: set[tuple[str, str]] = set()
        self.lifetime = 3600.0
        """Lifetime of a new token in seconds."""
        self.told_lifetime: float | None = None
        """Lifetime to state in answers instead of the real one."""
        self.issued: list[str] = []
        """Accounts that tokens were issued for."""
        self.scopes: list[str] = []
        self.outage: web.Response | None = None
        self.refused = 0
        """Requests answered with `outage`."""
        self.refresh_token = "refresh-1"
        self.subject_token = "subject-1"
        self.is_a_machine = True
        self.seconds_ahead = 0.0
        """Seconds by which Google's clock is ahead of the device's."""
        self.url = ""
        self._tokens: dict[str, tuple[str, float]] = {}
        self._scopes: dict[str, set[str]] = {}
        self.delegates: list[str] = []
        """Delegates of the last impersonation."""

    def grant(self, resource: str, *permissions: str, to: str = ACCOUNT) -> None:
        """Grant permissions on a resource to an account."""
        self.grants[to, resource].update(permissions)

    def revoke(self, resource: str, to: str = ACCOUNT) -> None:
        """Revoke all of them."""
        self.grants[to, resource].clear()

    def permissions_of(self, account: str, resource: str) -> set[str]:
        """Return the permissions of an account."""
        return self.grants[account, resource]

    def owner_of(self, token: str) -> str | None:
        """Return the account of a token; `None` once it has expired."""
        who, ends = self._tokens.get(token, ("", 0.0))
        return who if who and time.monotonic() < ends else None

    def end_all_tokens(self) -> None:
        """Invalidate all tokens."""
        self._tokens.clear()

    def service_account(self, **changes: Any) -> dict[str, Any]:
        """Return the content of the account's key file."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": pem(self.key),
            "client_email": ACCOUNT,
            "token_uri": f"{self.url}/token",
            **changes,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_post("/v1/token", self._exchange)
        app.router.add_get("/subject", self._subject)
        app.router.add_post("/v1/projects/-/serviceAccounts/{account}:generateAccessToken", self._impersonate)
        app.router.add_get("/computeMetadata/v1/instance/service-accounts/default/token", self._metadata_token)
        app.router.add_get("/computeMetadata/v1/project/project-id", self._metadata_project)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    @property
    def host(self) -> str:
        """Value for `GCE_METADATA_HOST`."""
        return self.url.removeprefix("http://")

    def issue(self, account: str, scope: str = _EVERYTHING) -> dict[str, Any]:
        """Issue a token in the form of the endpoints' answers."""
        token = f"ya29.{secrets.token_urlsafe(16)}"
        self._scopes[token] = set(scope.split())
        self._tokens[token] = (account, time.monotonic() + self.lifetime)
        self.issued.append(account)
        told = self.lifetime if self.told_lifetime is None else self.told_lifetime
        return {"access_token": token, "expires_in": int(told), "token_type": "Bearer"}

    async def _token(self, request: web.Request) -> web.Response:
        if self.outage is not None:
            self.refused += 1
            return _again(self.outage)
        form = await request.post()
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") != self.refresh_token or form.get("client_secret") != "client-secret":
                return _oauth_error("invalid_grant", "Bad Request")
            return web.json_response(self.issue(ACCOUNT))
        if form.get("grant_type") != _JWT_BEARER:
            return _oauth_error("unsupported_grant_type", "Invalid grant_type")
        return self._jwt(str(form.get("assertion")))

    def _jwt(self, assertion: str) -> web.Response:
        try:
            claimed = jwt.decode(assertion, options={"verify_signature": False})
            key = self.keys.get(claimed.get("iss", ""))
            if key is None:
                return _oauth_error("invalid_grant", "Invalid grant: account not found")
            claims = jwt.decode(assertion, key, algorithms=["RS256"], audience=f"{self.url}/token", leeway=_SKEW)
        except jwt.InvalidSignatureError:
            return _oauth_error("invalid_grant", "Invalid JWT Signature.")
        except jwt.PyJWTError:
            return _oauth_error("invalid_grant", _TIMEFRAME)
        now = time.time() + self.seconds_ahead
        if claims["exp"] - claims["iat"] > 3600 or abs(claims["iat"] - now) > _SKEW:
            return _oauth_error("invalid_grant", _TIMEFRAME)
        if not claims.get("scope"):
            return _oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        self.scopes.append(claims["scope"])
        return web.json_response(self.issue(claims["iss"], claims["scope"]))

    async def _exchange(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != _EXCHANGE or form.get("subject_token") != self.subject_token:
            return _oauth_error("invalid_grant", "The given subject token is not valid.")
        return web.json_response(self.issue("principal://pool/device", str(form.get("scope", ""))))

    async def _subject(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.subject_token)

    async def _impersonate(self, request: web.Request) -> web.Response:
        target = request.match_info["account"]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        who = self.owner_of(token)
        if who is None:
            return _status(401, "UNAUTHENTICATED", "no token")
        if not self._scopes[token] & _FOR_IAM:
            return _status(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
        if (who, target) not in self.impersonators:
            text = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
            return _status(403, "PERMISSION_DENIED", text)
        if request.content_type != "application/json":
            return _status(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        asked = json.loads(await request.read())
        if not all(name.startswith("projects/-/serviceAccounts/") for name in asked["delegates"]):
            return _status(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
        self.delegates = asked["delegates"]
        self.scopes += asked["scope"]
        return web.json_response({"accessToken": self.issue(target)["access_token"], "expireTime": "2100-01-01T00:00:00Z"})

    async def _metadata_token(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        if not self.is_a_machine:
            return web.Response(status=404, text="no service account")
        return web.json_response(self.issue(MACHINE))

    async def _metadata_project(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        return web.Response(text=PROJECT)


def _oauth_error(code: str, text: str) -> web.Response:
    return web.json_response({"error": code, "error_description": text}, status=400)


def _status(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": {"code": status, "status": code, "message": text}}, status=status)


def _again(response: web.Response) -> web.Response:
    """Copy a response, which can be sent only once."""
    return web.Response(status=response.status, body=response.body, content_type=response.content_type)
