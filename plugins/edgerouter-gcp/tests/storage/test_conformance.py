"""Contract of `gcp-storage`: batches, single messages, resumable uploads, and on another author's emulator.

Covers: edgerouter_gcp.storage.resumable, edgerouter_gcp.storage.sink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import aiohttp
import pytest
from gcp_storage_emulator.server import create_server

from edgerouter.testing import Received, SinkConformance, SinkServer
from edgerouter_gcp.storage.sink import StorageSink
from support.google.storage import StorageServer, one_payload
from support.records import records

BUCKET = "plant-archive"
_WHOLE = "an object is taken whole or not at all"
_LIMITS = dict.fromkeys(("max_bytes", "max_message_bytes"), "an object may have 5 TiB")


class TestStorage(SinkConformance):
    sink_class = StorageSink
    effectively_once = True
    unsupported: ClassVar[Mapping[str, str]] = {"fail_once": _WHOLE, **_LIMITS}
    more: ClassVar[Mapping[str, Any]] = {"framing": "length-prefixed", "key": "{topic}/{id}.bin.gz"}

    @pytest.fixture
    async def server(self, storage: StorageServer) -> StorageServer:
        return storage

    @pytest.fixture
    def config(self, server: StorageServer, account: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"bucket": BUCKET, "endpoint": server.url, **account, **self.more}


class TestStorageWithOneObjectAMessage(TestStorage):
    more: ClassVar[Mapping[str, Any]] = {"framing": "payload", "key": "{topic}/{id}"}

    @pytest.fixture
    async def server(self, storage: StorageServer) -> StorageServer:
        storage.unframe = one_payload
        return storage


class TestStorageWithResumableUploads(TestStorage):
    more: ClassVar[Mapping[str, Any]] = {"framing": "length-prefixed", "key": "{id}.zst", "resumable_above": 0}


class Emulator(SinkServer):
    """gcp-storage-emulator in a separate thread, read back by its HTTP interface."""

    _server: ClassVar[Any] = None
    """Shared by all tests, because stopping it takes half a second."""

    def __init__(self) -> None:
        if Emulator._server is None:
            Emulator._server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
            self._server.start()
        self._server.wipe(keep_buckets=True)
        host, port = self._server._api._httpd.server_address
        self.url = f"http://{host}:{port}"

    async def received(self) -> Sequence[Received]:
        objects = f"{self.url}/storage/v1/b/{BUCKET}/o"
        async with aiohttp.ClientSession() as session:
            async with session.get(objects) as response:
                names = [item["name"] for item in (await response.json()).get("items", [])]
            received: list[Received] = []
            for name in sorted(names, key=lambda name: int(name.split("-")[1].split(".")[0])):
                async with session.get(f"{objects}/{quote(name, safe='')}", params={"alt": "media"}) as response:
                    received += map(Received, records(await response.read()))
        return received

    async def stop(self) -> None:
        await asyncio.to_thread(self.shut_down)

    @classmethod
    def shut_down(cls) -> None:
        server, cls._server = cls._server, None
        if server is not None:
            server.stop()


@pytest.fixture(scope="module", autouse=True)
def _emulator_ends() -> Iterator[None]:
    yield
    Emulator.shut_down()


_NO_FAULTS = "this emulator always works"


class TestStorageOnAnotherEmulator(SinkConformance):
    sink_class = StorageSink
    effectively_once = True
    unsupported: ClassVar[Mapping[str, str]] = {
        **_LIMITS,
        "secrets": "the emulator asks for no credentials",
        "connections": "this emulator does not count them",
        "requests": "this emulator does not count them",
        **dict.fromkeys(
            ("cut_next", "fail", "fail_once", "heal", "lose_next_response", "refuse", "reject", "stall", "throttle"), _NO_FAULTS
        ),
    }

    @pytest.fixture
    async def server(self) -> Emulator:
        return Emulator()

    @pytest.fixture
    def config(self, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        return {"bucket": BUCKET, "framing": "length-prefixed", "key": "{id}.bin"}
