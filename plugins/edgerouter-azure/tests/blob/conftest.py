"""A service of Blob Storage that can fail, shared by the tests of the sink azure-blob."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.azure.azurite import Azurite, BlobRelay


@pytest.fixture
async def relay(azurite: Azurite) -> AsyncIterator[BlobRelay]:
    async with BlobRelay(azurite, azurite.new_container()).running() as running:
        yield running
