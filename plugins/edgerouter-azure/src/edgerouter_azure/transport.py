"""The HTTP connections of every client on azure-core: our authorities, no retries, and answers that are bounded."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp

from edgerouter import Unauthorized
from edgerouter.http_client import PLAIN, bounded
from edgerouter_azure.sdk import load

if TYPE_CHECKING:
    from pathlib import Path

    from azure.core.pipeline.transport import AioHttpTransport

MOST_ANSWER_BYTES: Final = 16 * 1024**2
"""Bound of an answer's body, for requests that read no blob: secrets, tokens, properties, lists of checkpoints."""
_NOT_BLOBS: Final = frozenset({"comp", "restype"})
"""Parameters of requests that read something else than the content of a blob."""


@asynccontextmanager
async def open_transport(
    ca_file: Path | None, *, connect_timeout: float = 20.0, most_body: int = MOST_ANSWER_BYTES
) -> AsyncIterator[AioHttpTransport]:
    """A transport as the SDK makes it, for as long as the context lasts.

    The SDK leaves the authorities and the time-out for connecting to who gives it a transport, and loads the authorities anew for
    each request; it inflates any answer without bound.

    Args:
        ca_file: certificates of the authorities that are trusted; `None` = the system's.
        connect_timeout: seconds.
        most_body: bytes of an answer's body.

    Raises:
        Unauthorized: `ca_file` cannot be used.
    """
    await load("azure.core.pipeline.transport:AioHttpTransport")
    from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415  (only an open client needs it)

    authorities = await load_authorities(ca_file) or True
    async with aiohttp.ClientSession(
        connector=bounded(aiohttp.TCPConnector(ssl=authorities, limit=0), most_body=most_body),
        headers=PLAIN,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        middlewares=(_not_compressed,),
    ) as session:
        if hasattr(session, "_retry_connection"):  # aiohttp sends a PUT again by itself and has no public switch
            session._retry_connection = False  # noqa: SLF001  (the router owns retries)
        yield AioHttpTransport(session=session, session_owner=False, connection_timeout=connect_timeout)


async def load_authorities(ca_file: Path | None) -> ssl.SSLContext | None:
    """Load `ca_file`; `None` where there is none.

    Raises:
        Unauthorized: it cannot be used.
    """
    if ca_file is None:
        return None
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=str(ca_file))
    except OSError as error:
        raise Unauthorized(f"ca_file {ca_file} cannot be used: {error.strerror or error}") from error


async def _not_compressed(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Refuse compressed answers, which we did not ask for and the SDK would inflate; the content of a blob it leaves as it is."""
    response = await send(request)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity" and request.method != "HEAD":
        content = request.method == "GET" and response.status in {200, 206} and not _NOT_BLOBS & request.url.query.keys()
        if not content:
            response.close()
            raise aiohttp.ClientPayloadError(f"the service compresses its answer ({encoding[:20]}) although it was asked not to")
    return response
