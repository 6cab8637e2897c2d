"""The SDK's connections to AWS: answers are bounded, large bodies go in pieces, and similar requests share a poster."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

from edgerouter.http_client import bounded
from edgerouter_aws.poster import Poster

PIECES_OVER_BYTES = 256 * 1024
"""Bodies above this size are written in pieces, as the connection takes them, and not copied into its buffer at once."""
_MOST_ANSWER_BYTES = 64 * 1024**2
"""Bound of an answer's body: a receive of SQS brings ten messages of 1 MiB, with every character escaped."""


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # the SDK has no types
    """The SDK's connections, whose answers are bounded; it asks for no compressed ones."""

    async def _create_connector(self, proxy_url: str | None) -> Any:
        return bounded(await super()._create_connector(proxy_url), most_body=_MOST_ANSWER_BYTES)

    async def poster(self, url: str, headers: Mapping[str, str]) -> Poster:
        """Return a poster to one address, over these connections and through the same proxy. Sends nothing.

        Args:
            url: address of the requests.
            headers: headers of every request.

        Raises:
            Exception: what the SDK raises for certificates that cannot be read, and for a proxy's address that is none.
        """
        proxy = self._proxy_config.proxy_url_for(url)
        session = await self._get_session(proxy)
        headers = {**headers, "Accept-Encoding": "identity"}  # as the SDK's own requests, for which it is not signed
        return Poster(session, url, headers, proxy, self._proxy_config.proxy_headers_for(url))


def in_pieces(request: Any, **_: Any) -> None:
    """Send the body without asking first, which costs a round trip and hangs where a proxy does not answer.

    A large body is written piece by piece, as the connection takes it, instead of being copied into its buffer at once.
    """
    if "Expect" in request.headers:
        del request.headers["Expect"]
    if isinstance(request.body, bytes | bytearray) and len(request.body) > PIECES_OVER_BYTES:
        request.body = io.BytesIO(request.body)
