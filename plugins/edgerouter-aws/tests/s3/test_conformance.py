"""The sink aws-s3, in each of its framings, against S3 that is as strict as the real one.

Covers: edgerouter_aws.s3.bucket, edgerouter_aws.s3.parquet, edgerouter_aws.s3.sink.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import zstandard

from edgerouter.testing import Received, SinkConformance
from edgerouter_aws.s3.sink import S3Sink
from support.aws.s3 import S3Server, Stored
from support.records import records


def unpack(key: str, stored: Stored) -> Sequence[Received]:
    """Decode an object as a reader would, by its key and headers."""
    encoding = stored.headers.get("Content-Encoding")
    body = stored.body
    if encoding == "gzip":
        body = gzip.decompress(body)
    elif encoding == "zstd":
        body = zstandard.ZstdDecompressor().decompress(body)
    return [Received(payload) for payload in (records(body) if ".bin" in key else [body])]


class S3Conformance(SinkConformance):
    sink_class = S3Sink
    effectively_once = True
    resends_on_a_cut_connection = True
    unsupported = {
        "fail_once": "an object is stored whole or not at all",
        **dict.fromkeys(("max_bytes", "max_message_bytes"), "an object may have 5 TiB"),
    }
    more: Mapping[str, Any] = {}

    @pytest.fixture
    async def server(self) -> AsyncIterator[S3Server]:
        async with S3Server(unpack).running() as server:
            yield server

    @pytest.fixture
    def config(self, server: S3Server, keys: dict[str, Any]) -> Mapping[str, Any]:
        return {"bucket": server.bucket, "endpoint_url": server.url, "addressing": "path", **keys, **self.more}


class TestObjectsOfManyMessages(S3Conformance):
    more = {"framing": "length-prefixed"}


class TestZstdObjectsWithChecksums(S3Conformance):
    more = {"framing": "length-prefixed", "key": "{topic}/{id}.bin.zst", "checksums": True}


class TestOneObjectForEachMessage(S3Conformance):
    more = {"framing": "payload", "key": "{topic}/{id}"}


class TestObjectsThatAreNeverReplaced(S3Conformance):
    more = {"framing": "length-prefixed", "create_only": True}


class TestObjectsUploadedInParts(S3Conformance):
    more = {"framing": "payload", "key": "{topic}/{id}", "multipart": "5MiB"}
    largest_test_bytes = 8 * 1024 * 1024
