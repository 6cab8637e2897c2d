"""The Blob sink keeps every promise of the sink contract: a blob for each batch, and blobs that grow.

Covers: edgerouter_azure.blob.append, edgerouter_azure.blob.block, edgerouter_azure.blob.sink.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from edgerouter.testing import SinkConformance
from edgerouter_azure.blob.sink import BlobSink
from support.azure.azurite import API_VERSION, Azurite, BlobRelay


class TestBlockBlobs(SinkConformance):
    sink_class = BlobSink
    unsupported = {
        "fail_once": "a blob is written whole or not at all",
        **dict.fromkeys(("max_bytes", "max_message_bytes"), "a block may have 5000 MiB, an appended one 100 MiB"),
    }
    effectively_once = True
    keeps_order = False  # each blob has its order; blobs have none
    extra: Mapping[str, Any] = {"compression": "none"}

    @pytest.fixture
    async def server(self, azurite: Azurite) -> AsyncIterator[BlobRelay]:
        async with BlobRelay(azurite, azurite.new_container()).running() as running:
            yield running

    @pytest.fixture
    def config(self, server: BlobRelay) -> Mapping[str, Any]:
        return {
            "connection_string": server.connection_string(),
            "container": server.container,
            "api_version": API_VERSION,
            **self.extra,
        }


class TestAppendBlobs(TestBlockBlobs):
    keeps_order = True
    extra = {"compression": "none", "blob_type": "append"}
