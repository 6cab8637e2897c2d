"""Azurite, the Blob Storage emulator, in a separate process, and a relay in front of it that injects faults."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp
import pytest
from aiohttp import web

from azure.storage.blob import BlobServiceClient
from edgerouter.testing import HttpSinkServer, Received
from support.json_lines import received as read_line

ACCOUNT = "plant"
KEY = base64.b64encode(b"the key of the test account, 64 bytes long, as Azure makes them.").decode()
API_VERSION = "2025-11-05"
"""Newest version known to Azurite 3.37."""
_PROGRAM = Path(__file__).parents[3] / ".tools" / "azurite-blob"
_LISTENS = re.compile(rb"successfully listens on http://([\d.]+):(\d+)")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite."""

    url: str
    """URL of the account."""

    def service(self) -> BlobServiceClient:
        """Create a client of the account, for inspection."""
        return BlobServiceClient(self.url, credential={"account_name": ACCOUNT, "account_key": KEY}, api_version=API_VERSION)

    def connection_string(self, url: str | None = None, key: str = KEY) -> str:
        """Return the sink's connection string; `url` of a relay."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={url or self.url};"

    def new_container(self) -> str:
        """Return an unused name; the container is not created."""
        return f"test-{next(_numbers)}"

    def blobs(self, container: str) -> dict[str, bytes]:
        """Return all blobs by name."""
        with self.service() as service:
            client = service.get_container_client(container)
            if not client.exists():
                return {}
            return {name: client.download_blob(name, decompress=False).readall() for name in client.list_blob_names()}


@contextlib.contextmanager
def running_azurite() -> Iterator[Azurite]:
    """Start Azurite and stop it at the end; skip the test if it is not installed."""
    if not _PROGRAM.exists():
        pytest.skip("Azurite, the Blob Storage emulator, is not installed; install it with: .ci/install-azurite")
    process = subprocess.Popen(
        [_PROGRAM, "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
    )  # fmt: skip
    assert process.stdout
    try:
        host, port = _address(process.stdout)
        yield Azurite(f"http://{host}:{port}/{ACCOUNT}")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def _address(output: IO[bytes]) -> tuple[str, int]:
    said, deadline = b"", time.monotonic() + 60
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if selector.select(timeout=1):
                piece = os.read(output.fileno(), 65536)
                said += piece
                if match := _LISTENS.search(said):
                    return match[1].decode(), int(match[2])
                if not piece:
                    break
    raise RuntimeError(f"Azurite did not start: {said.decode(errors='replace')}")


class BlobRelay(HttpSinkServer):
    """Relays between the sink and Azurite, and injects faults that Azurite cannot.

    Args:
        azurite: server behind the relay.
        container: container whose blobs `received` reads.
        framing: `jsonl` or `payload`.
    """

    def __init__(self, azurite: Azurite, container: str, framing: str = "jsonl") -> None:
        super().__init__()
        self.azurite, self.container, self.framing = azurite, container, framing
        self.log: list[str] = []
        """Method and target of each request."""

    def connection_string(self) -> str:
        """Return the sink's connection string, through this relay."""
        return self.azurite.connection_string(f"{self.url}/{ACCOUNT}")

    def blobs(self) -> dict[str, bytes]:
        """Return the content of each blob in the container, by name."""
        return self.azurite.blobs(self.container)

    def carries_messages(self, request: web.BaseRequest) -> bool:
        block = request.method == "PUT" and request.headers.get("x-ms-blob-type") == "BlockBlob"
        return block or request.query.get("comp") == "appendblock"

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        self.log.append(f"{request.method} {request.raw_path}")
        if self.rejected(body):
            return _problem(413, "RequestBodyTooLarge")
        root = self.azurite.url.removesuffix(f"/{ACCOUNT}")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "transfer-encoding"}}
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=_AUTOMATIC) as session,
            session.request(
                request.method, _exact(root + request.raw_path), data=io.BytesIO(body) if body else None, headers=headers
            ) as response,
        ):
            drop = _HOP_BY_HOP - {"content-length"} if request.method == "HEAD" else _HOP_BY_HOP
            kept = {name: value for name, value in response.headers.items() if name.lower() not in drop}
            return web.Response(status=response.status, headers=kept, body=await response.read())

    def broken(self) -> web.Response:
        return _problem(500, "InternalError")

    def throttled(self, seconds: float) -> web.Response:
        return _problem(503, "ServerBusy", {"Retry-After": str(int(seconds))})

    def refused(self) -> web.Response:
        return _problem(403, "AuthorizationPermissionMismatch")

    async def received(self) -> Sequence[Received]:
        taken: list[Received] = []
        for data in self.azurite.blobs(self.container).values():
            if self.framing == "payload":
                taken.append(Received(data))
            else:
                taken += [read_line(line) for line in data.split(b"\n")[:-1]]
        return taken


_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that the client library would add, although they were not signed."""


def _exact(url: str) -> str:
    import yarl

    return yarl.URL(url, encoded=True)  # type: ignore[return-value]  # what was signed must not be spelt anew


def _problem(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    text = f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>by the test</Message></Error>"
    return web.Response(
        status=status, text=text, content_type="application/xml", headers={"x-ms-error-code": code, **(headers or {})}
    )
