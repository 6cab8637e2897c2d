"""Access tokens without gcloud-aio's hidden retries: one attempt at a time, shared by all who wait, refreshed in good time."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gcloud.aio.auth import Token

from edgerouter import Unauthorized, Unavailable
from edgerouter_gcp.credentials import Credentials
from edgerouter_gcp.errors import read_answer, translate

_SECONDS_PER_REQUEST = 10
_SECONDS_PER_ACQUISITION = 25.0
"""Impersonation and workload identity take two requests."""
_SECONDS_BETWEEN_EARLY_REFRESHES = 5.0
_TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"  # noqa: S105  (a role)
_IAM_SCOPE = "https://www.googleapis.com/auth/iam"
"""https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken"""
_IMPERSONATED = re.compile(r"/serviceAccounts/([^/:]+):generateAccessToken")
_RENEWAL = {
    # what to do when the token endpoint says invalid_grant
    "authorized_user": "the login has ended: run `gcloud auth application-default login` again",
    "impersonated_service_account": "the login has ended: run `gcloud auth application-default login` again",
    "external_account": "the workload identity provider does not take the token that the credentials file leads to",
}


class AccessToken(Token):
    """gcloud-aio's token exchange with our own rules of when.

    The base class tries five times with pauses inside every caller's write, lets one cancelled caller cancel all others, and
    trusts the wall clock, which jumps when a device learns the time.
    """

    def __init__(
        self,
        credentials: Credentials,
        session: Any,
        scopes: Sequence[str],
        *,
        impersonate: str | None = None,
        delegates: Sequence[str] = (),
    ) -> None:
        super().__init__(
            service_file=io.StringIO(json.dumps(credentials.data)),
            session=session,
            scopes=list(scopes),
            target_principal=impersonate,
            delegates=[name if "/" in name else f"projects/-/serviceAccounts/{name}" for name in delegates] or None,
        )
        self.credentials = credentials
        self._impersonate_as: str | None = None
        self._impersonate_for = list(scopes)
        if self.impersonation_uri:
            # the credentials' own token goes to IAM alone, which takes no token of the service's scope
            self.scopes = _IAM_SCOPE
            match = _IMPERSONATED.search(self.impersonation_uri)
            self._impersonate_as = impersonate or (unquote(match[1]) if match else "the impersonated account")
        self.identity = self._impersonate_as or credentials.identity
        """Account to grant a role to."""
        self._accepted = False
        self._early_at = 0.0
        self._ends_at = 0.0
        self._running: asyncio.Task[None] | None = None
        if not credentials.data:
            # the base class reads this variable when it is imported
            self.token_uri = f"{metadata_root()}/instance/service-accounts/default/token"

    async def ensure_token(self) -> None:
        """Have a valid token.

        Raises:
            Unavailable: none can be had now.
        """
        now = time.monotonic()
        if self.access_token is None or now >= self._ends_at:
            await asyncio.shield(self._acquire())
        elif now >= self._early_at:
            self._early_at = now + _SECONDS_BETWEEN_EARLY_REFRESHES  # a failure costs nothing yet
            self._acquire()

    async def acquire_access_token(  # type: ignore[override]  # the base class wraps its own in retries
        self,
        timeout: int = _SECONDS_PER_REQUEST,  # noqa: ASYNC109  (the base class's signature)
    ) -> None:
        """Get a new token, in one attempt bounded in time.

        Raises:
            Unavailable: none can be had now.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(_SECONDS_PER_ACQUISITION):
                await self._load_key()
                answer = await self.refresh(timeout=timeout)
        except Exception as error:  # gcloud-aio raises bare Exception, KeyError and ValueError as well
            raise self._explain(error) from error
        self.access_token = answer.value
        self._accepted = False
        self._early_at = started + answer.expires_in * self.background_refresh_after
        self._ends_at = started + answer.expires_in * self.force_refresh_after

    async def _load_key(self) -> None:
        """Load the private key in a thread, once: the base class does so at each refresh, and holds the event loop for 50 ms."""
        key = self.service_data.get("private_key")
        if isinstance(key, str):
            self.service_data["private_key"] = await asyncio.to_thread(load_pem_private_key, key.encode(), None)

    async def _impersonate(
        self,
        token: Any,
        *,
        timeout: int,  # noqa: ASYNC109  (the base class's signature)
    ) -> Any:
        """Exchange a token for the other account's: the base class sends no media type, and the scopes of the first."""
        asked = {"scope": self._impersonate_for, "lifetime": f"{self.default_token_ttl}s", "delegates": self.delegates or []}
        response = await self.session.post(
            str(self.impersonation_uri),
            data=json.dumps(asked),
            headers={"Authorization": f"Bearer {token.value}", "Content-Type": "application/json"},
            timeout=timeout,
        )
        token.value = str((await response.json())["accessToken"])
        token.expires_in = min(token.expires_in, self.default_token_ttl)
        return token

    def accepted(self) -> None:
        """The service took the token."""
        self._accepted = True

    def refused(self, value: str) -> bool:
        """The service answered 401: get a new token next time.

        Returns:
            whether it had been taken before, so that a new one may be all that is needed.
        """
        if self.access_token is not None and value != self.access_token:
            return True  # another task has already got a new one
        self.access_token = None
        return self._accepted

    async def close(self) -> None:
        """End a refresh that is under way; the HTTP session is not ours."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    def _acquire(self) -> asyncio.Task[None]:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self.acquire_access_token(), name="gcp access token")
            self._running.add_done_callback(_seen)
        return self._running

    def _explain(self, error: Exception) -> Unavailable:
        if isinstance(error, aiohttp.ClientResponseError) and error.status >= 400:
            return self._explain_response(error)
        if not self.credentials.data and isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
            return Unavailable(
                f"no credentials are configured, and the metadata server at {metadata_root()} cannot be reached "
                f"({type(error).__name__}); off Google Cloud set credentials_file, or client_email and private_key"
            )
        if isinstance(error, TimeoutError):
            return Unavailable(f"get an access token for {self.identity}: no answer in time")
        if isinstance(error, aiohttp.ClientError | OSError):
            return Unavailable(str(translate(error, f"get an access token for {self.identity}")))
        if self.credentials.data.get("type") == "external_account":
            source = self.credentials.data["credential_source"]
            place = source.get("file") or urlsplit(source.get("url", ""))._replace(query="").geturl()
            return Unauthorized(
                f"no access token for {self.identity}: {type(error).__name__} with the token of workload identity from {place}"
            )
        return Unauthorized(f"no access token for {self.identity} from {self.credentials.origin}: {type(error).__name__}")

    def _explain_response(self, error: aiohttp.ClientResponseError) -> Unavailable:
        answer = read_answer(error)
        doing = f"get an access token for {self.identity}"
        if ":generateAccessToken" in error.request_info.url.path:
            hint = f"grant {_TOKEN_CREATOR} on {self._impersonate_as} to {self.credentials.identity}"
        elif not self.credentials.data and error.status == 404:
            # the metadata server answers in plain text, which elsewhere says that a proxy spoke in Google's place
            return Unauthorized(f"{doing}: 404; attach a service account to this machine, or set credentials_file")
        elif not self.credentials.data:
            hint = "attach a service account to this machine, or set credentials_file"
        elif answer.code == "invalid_grant" and self.credentials.data["type"] in _RENEWAL:
            hint = _RENEWAL[self.credentials.data["type"]]
        elif answer.code == "invalid_grant":
            # RFC 6749 5.2; Google's texts are "Invalid JWT: Token must be a short-lived token ...", "Invalid JWT Signature."
            hint = f"the private key of {self.credentials.identity} is revoked or another account's, or the device's clock is wrong"
        else:
            hint = f"look at the credentials from {self.credentials.origin}"
        translated = translate(error, doing, hint=hint)
        if isinstance(translated, Unavailable):
            return translated
        return Unauthorized(f"{translated}; {hint}")  # 400 is about the credentials, not about a message


def metadata_root() -> str:
    """The metadata server of Google's machines, or of whatever stands in for it."""
    host = os.environ.get("GCE_METADATA_HOST") or os.environ.get("GCE_METADATA_ROOT") or "metadata.google.internal"
    return f"http://{host}/computeMetadata/v1"


def _seen(task: asyncio.Task[None]) -> None:
    """Ignore the failure of an early refresh: the token still works, and the next refresh raises its error to the caller."""
    if not task.cancelled():
        task.exception()
