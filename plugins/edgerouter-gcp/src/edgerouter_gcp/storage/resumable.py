"""Uploads to Cloud Storage in sessions: an interrupted attempt resumes where it stopped, and only the rest is sent."""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, Any

import aiohttp
from gcloud.aio.storage import Storage

from edgerouter import Unavailable
from edgerouter_gcp.connection import UNBOUNDED

_INCOMPLETE = 308
"""https://cloud.google.com/storage/docs/performing-resumable-uploads: this much is here, send the rest."""
_RANGE = re.compile(r"bytes=0-(\d+)")
_OVER = {404, 410}
"""The session has ended; a new one begins at the first byte."""
_PASSING = {401, 408, 429}
"""The 4xx answers after which a session can still resume."""
_MOST_SESSIONS = 64
_MOST_REFUSALS = 5
"""Errors of the service in a session that gets no further, before it is given up for a new one."""


@dataclass(slots=True)
class _Session:
    uri: str
    """Permits its holder to write the object, so it is never shown."""
    taken: int = 0
    """Bytes that Cloud Storage is known to have."""
    refusals: int = 0


class ResumableStorage(Storage):
    """gcloud-aio's client, whose resumable uploads send what Cloud Storage does not have yet, once.

    The base class sends all of it again, four times in a row, whatever went wrong: over a link that breaks every few megabytes
    a large object would never arrive. A session is remembered by the object's name and bytes, so it is of no matter whether
    the same write or a later one resumes it, and forgetting one costs no more than sending the object from its beginning.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    async def _upload_resumable(  # type: ignore[override]  # the base class's timeout is a number
        self,
        url: str,
        object_name: str,
        stream: IO[bytes],
        params: dict[str, str],
        headers: dict[str, str],
        *,
        metadata: dict[str, Any] | None = None,
        session: Any = None,  # noqa: ARG002  (the base class's signature)
        timeout: Any = UNBOUNDED,  # noqa: ARG002, ASYNC109  (as above; the router ends what takes too long)
    ) -> dict[str, Any]:
        data = stream.read()
        known = object_name, str((metadata or {}).get("Md5-Hash"))
        begun = self._sessions.get(known)
        stored = None
        if begun is not None:
            stored = await self._send(known, begun, headers, data, None)
            begun = self._sessions.get(known)
        if begun is None and stored is None:
            begun = _Session(await self._initiate_upload(url, object_name, params, headers, metadata=metadata))
            self._remember(known, begun)
        while stored is None:
            assert begun is not None
            before = begun.taken
            if before < len(data):
                stored = await self._send(known, begun, headers, data, before)
            if stored is None and begun.taken <= before:
                self._refused(known, begun, _INCOMPLETE)
                raise Unavailable(f"write {object_name}: the upload stopped after {begun.taken} of {len(data)} bytes")
        self._sessions.pop(known, None)
        return stored

    async def _send(
        self, known: tuple[str, str], session: _Session, headers: dict[str, str], data: bytes, start: int | None
    ) -> dict[str, Any] | None:
        """Send what follows a byte; with `start=None` ask how far the session has come.

        Returns:
            the object; `None` if it is not complete yet, or if what was asked for has ended and is forgotten.
        """
        rest = io.BytesIO(data if start is not None else b"")
        rest.seek(start or 0)
        span = f"bytes */{len(data)}" if start is None else f"bytes {start}-{len(data) - 1}/{len(data)}"
        length = str(len(data) - start if start is not None else 0)
        try:
            async with self.session.session.put(
                session.uri,
                data=rest,
                headers={**headers, "Content-Range": span, "Content-Length": length},
                timeout=UNBOUNDED,
                allow_redirects=False,  # 308 is not a redirect here
            ) as response:
                return await _read(response, session)
        except aiohttp.ClientResponseError as error:
            self._refused(known, session, error.status)
            if error.status not in _OVER:
                raise
            if start is None:
                return None
            raise Unavailable(f"write {known[0]}: the upload session has ended; a new one is begun") from None

    def _remember(self, known: tuple[str, str], session: _Session) -> None:
        self._sessions[known] = session
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _refused(self, known: tuple[str, str], session: _Session, status: int) -> None:
        session.refusals += 1
        final = 400 <= status < 500 and status not in _PASSING
        if final or session.refusals > _MOST_REFUSALS:
            self._sessions.pop(known, None)


async def _read(response: aiohttp.ClientResponse, session: _Session) -> dict[str, Any] | None:
    if response.status == _INCOMPLETE:
        match = _RANGE.fullmatch(response.headers.get("Range", ""))
        taken = int(match[1]) + 1 if match else 0
        if taken > session.taken:
            session.refusals = 0
        session.taken = taken
        return None
    if response.status >= 400:
        raise aiohttp.ClientResponseError(
            response.request_info,
            response.history,
            status=response.status,
            message=f"{response.reason}: {await response.text(errors='replace')}",
            headers=response.headers,
        )
    stored: dict[str, Any] = await response.json(content_type=None)
    return stored
