"""Resources of an open sink or store: one HTTP session, one access token, and the project."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import aiohttp

from edgerouter import Rejected, Unauthorized, Unavailable
from edgerouter.http_client import PLAIN, bounded
from edgerouter_gcp.access_token import AccessToken, metadata_root
from edgerouter_gcp.credentials import Credentials, GoogleFields, load_credentials
from edgerouter_gcp.errors import read_answer, translate

UNBOUNDED = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""For a write: the router's own time-out ends it, whatever gcloud-aio's default is."""
_MOST_ANSWER_BYTES = 64 * 1024**2
"""Bound of an answer's body: a pull of Pub/Sub brings messages of 10 MB each."""
SECONDS_TO_OPEN = 20.0
"""Bound of the look at the service while opening."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open HTTP session and whom it speaks for."""

    session: Any
    """An aiohttp.ClientSession; gcloud-aio declares its own as those of requests."""
    token: AccessToken
    anonymous: bool
    endpoint: str
    """Root of the service, without a slash at its end."""
    fields: GoogleFields

    def explain(self, error: Exception, doing: str, *, role: str = "") -> Unavailable | Rejected:
        """The edgerouter error for what a call raised; a token that was refused is not used again."""
        hint = ""
        if isinstance(error, aiohttp.ClientResponseError) and error.status == 403:
            hint = f"grant {role} to {self.token.identity}" if role else ""
        elif isinstance(error, aiohttp.ClientResponseError) and error.status == 401:
            hint = f"the service refuses the access token of {self.token.identity}"
            if self.token.refused(error.request_info.headers.get("Authorization", "").removeprefix("Bearer ")):
                return Unavailable(f"{doing}: the access token has become invalid; a new one is taken")
        elif isinstance(error, aiohttp.ClientResponseError) and error.status == 404:
            hint = "look at the name, and at the project"
        return translate(error, doing, hint=hint)

    @contextmanager
    def translated(self, doing: str, *, role: str = "") -> Iterator[None]:
        """Raise what happens inside as an error of edgerouter; see `explain`."""
        try:
            yield
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            # not `from error`: an aiohttp error's repr shows the request's headers, the access token among them
            raise self.explain(error, doing, role=role) from None

    @contextmanager
    def of_service(self, doing: str, *, role: str = "", missing: Unavailable | None = None) -> Iterator[None]:
        """As `translated`, for requests that hold no message: a rejection says that the configuration is wrong.

        Args:
            doing: what is tried, such as `open projects/p/topics/t`.
            role: role to grant where access is refused.
            missing: error for a 404 that is Google's.
        """
        try:
            with self.translated(doing, role=role):
                try:
                    yield
                except aiohttp.ClientResponseError as error:
                    if missing is not None and error.status == 404 and read_answer(error).code:
                        raise missing from None
                    raise
        except Rejected as error:
            raise Unauthorized(str(error)) from None

    async def headers(self) -> dict[str, str]:
        """Return the headers that authorize a request."""
        return {} if self.anonymous else {"Authorization": f"Bearer {await self.token.get()}"}

    async def project(self) -> str:
        """The project of short names.

        Raises:
            Unauthorized: it is configured nowhere.
            Unavailable: the metadata server cannot be asked.
        """
        told = self.fields.project or self.token.credentials.project or os.environ.get("GOOGLE_CLOUD_PROJECT")
        if told:
            return told
        if self.token.credentials.data or self.anonymous:
            raise Unauthorized("which project? set `project`")
        url = f"{metadata_root()}/project/project-id"
        try:
            async with self.session.get(
                url, headers={"Metadata-Flavor": "Google"}, timeout=aiohttp.ClientTimeout(total=10), raise_for_status=True
            ) as response:
                return str(await response.text()).strip()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(
                f"which project? no credentials are configured, and the metadata server at {metadata_root()} does not name it "
                f"({type(error).__name__}); off Google Cloud set credentials_file, or client_email and private_key; else `project`"
            ) from None


@asynccontextmanager
async def connect(
    fields: GoogleFields, *, scopes: Sequence[str], endpoint: str, emulator_variable: str | None = None
) -> AsyncIterator[Connection]:
    """Have credentials and an HTTP session. Sends nothing.

    Args:
        fields: the configuration.
        scopes: what the access token is for.
        endpoint: root of the service where the configuration names none.
        emulator_variable: environment variable that names an emulator, as Google's own libraries read it.

    Raises:
        Unauthorized: the credentials cannot be used.
    """
    emulator = os.environ.get(emulator_variable, "") if emulator_variable and not fields.endpoint else ""
    anonymous = fields.anonymous or bool(emulator)
    if emulator:
        endpoint = emulator if emulator.startswith(("http://", "https://")) else f"http://{emulator}"
    credentials = Credentials({}, "nobody") if anonymous else await asyncio.to_thread(load_credentials, fields)
    # Proxy variables are honoured, but only where there are any: aiohttp then also reads ~/.netrc, in a thread, for each request.
    async with aiohttp.ClientSession(
        trust_env=bool(getproxies()),
        connector=bounded(aiohttp.TCPConnector(limit=0), most_body=_MOST_ANSWER_BYTES),
        headers=PLAIN,
        auto_decompress=False,
        middlewares=(_one_attempt, _charging(credentials.data.get("quota_project_id"))),
    ) as session:
        token = AccessToken(credentials, session, scopes, impersonate=fields.impersonate, delegates=fields.delegates)
        try:
            yield Connection(session, token, anonymous, (fields.endpoint or endpoint).rstrip("/"), fields)
        finally:
            await token.close()


def _charging(project: str | None) -> aiohttp.ClientMiddlewareType:
    """Name the project whose quota a request counts against: Pub/Sub wants that of a person's credentials."""

    async def charge(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if project and "Authorization" in request.headers:
            request.headers["X-Goog-User-Project"] = project
        return await send(request)

    return charge


async def _one_attempt(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hide from aiohttp the two errors after which it would send a PUT a second time by itself."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"the connection was lost ({error})") from error
