"""An S3 server, shared by the tests of the sink aws-s3."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.aws.s3 import S3Server


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server().running() as server:
        yield server
