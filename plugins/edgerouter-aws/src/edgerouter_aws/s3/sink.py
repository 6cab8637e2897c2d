"""The sink aws-s3: one object for each batch, or for each message, in an S3 bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self
from urllib.parse import urlencode

from edgerouter import Failure, Limits, Message, Outcome, Sink, SinkContext, Unauthorized
from edgerouter.objects import Compression, Framing, KeyTemplate, content_encoding, content_type, encode, size_of, sizes_of
from edgerouter_aws.s3.bucket import MOST_OBJECT_BYTES, Bucket, bucket_call, open_s3
from edgerouter_aws.s3.columns import ParquetOptions
from edgerouter_aws.s3.config import S3Config

_ENCODE_IN_THREAD_BYTES = 64 * 1024
"""Compressing more than this would hold up the event loop for milliseconds."""


class Table(Protocol):
    """Encodes batches as files of their own kind."""

    def encode(self, batch: Sequence[Message]) -> tuple[bytes, Sequence[Failure]]:
        """The file with all messages but those in the failures."""


class S3Sink(Sink[S3Config]):
    """Stores each batch as one object. The key and the bytes follow from the batch, so a retry stores the same object again."""

    def __init__(self, bucket: Bucket, config: S3Config, context: SinkContext) -> None:
        self._bucket = bucket
        self._names = context
        self._key = KeyTemplate.parse(config.template())
        self._framing: Framing | None = config.framing if config.framing != "parquet" else None
        self._compression: Compression = self._key.compression if config.compression == "auto" else config.compression
        self._ordered = config.ordered if config.ordered is not None else config.framing != "payload"
        self._headers = _headers(config, self._framing, self._compression)
        if self._framing is None:
            self._table = _table(config.parquet)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: S3Config, context: SinkContext) -> AsyncIterator[Self]:
        """Connect, and find out whether objects may be stored."""
        parameters = _parameters(config)
        call = bucket_call(config.bucket, config.region, parameters)
        async with open_s3(config, call, addressing=config.addressing, checksums=config.checksums) as client:
            bucket = Bucket(
                client,
                config.bucket,
                bucket_call(config.bucket, client.meta.region_name, parameters),
                parameters=parameters,
                create_only=config.create_only,
                multipart_bytes=config.multipart,
            )
            if config.probe:
                await bucket.probe(config.template().partition("{")[0], parts=context.probe)
            yield cls(bucket, config, context)

    @property
    def limits(self) -> Limits:
        one = 1 if self._framing == "payload" else None
        return Limits(max_messages=one, max_bytes=MOST_OBJECT_BYTES, max_message_bytes=MOST_OBJECT_BYTES)

    @property
    def stable_batches(self) -> bool:
        return self._framing != "payload"

    def size_of(self, message: Message) -> int:
        if self._framing is None:
            return len(message.payload) + len(message.topic)
        return size_of(message, self._framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return super().sizes_of(messages) if self._framing is None else sizes_of(messages, self._framing)

    def partition_of(self, message: Message) -> Hashable:
        return self._key.partition_of(message, self._names)

    def order_of(self, message: Message) -> Hashable:
        return self.partition_of(message) if self._ordered else None

    async def write(self, batch: Sequence[Message]) -> Outcome:
        body, failures = await self._body(batch)
        if len(failures) == len(batch):
            return Outcome(failures)
        return Outcome(failures, receipts=await self._bucket.put(self._key.key_of(batch, self._names), body, self._headers))

    async def holds(self, batch: Sequence[Message]) -> bool:
        body, failures = await self._body(batch)
        return not failures and await self._bucket.holds(self._key.key_of(batch, self._names), len(body))

    async def _body(self, batch: Sequence[Message]) -> tuple[bytes, Sequence[Failure]]:
        if sum(len(message.payload) for message in batch) > _ENCODE_IN_THREAD_BYTES:
            return await asyncio.to_thread(self._encode, batch)
        return self._encode(batch)

    def _encode(self, batch: Sequence[Message]) -> tuple[bytes, Sequence[Failure]]:
        if self._framing is None:
            return self._table.encode(batch)
        return encode(batch, self._framing, self._compression), ()


def _table(options: ParquetOptions) -> Table:
    """The encoder of Parquet files; pyarrow takes a second to import, so it is imported here and not with the module."""
    try:
        from edgerouter_aws.s3.parquet import ParquetTable  # noqa: PLC0415
    except ImportError as error:
        raise Unauthorized(f"framing: parquet needs pyarrow: pip install pyarrow ({error})") from error
    return ParquetTable(options)


def _headers(config: S3Config, framing: Framing | None, compression: Compression) -> dict[str, str]:
    """Return the headers that describe an object's format to its readers."""
    media_type = config.content_type or (content_type(framing) if framing is not None else "application/vnd.apache.parquet")
    headers = {"ContentType": media_type}
    encoding = content_encoding(compression) if framing is not None else None
    if encoding is not None and config.content_encoding == "auto":
        headers["ContentEncoding"] = encoding
    return headers


def _parameters(config: S3Config) -> dict[str, Any]:
    """Return the parameters of every object of the sink."""
    parameters: dict[str, Any] = {}
    if config.storage_class is not None:
        parameters["StorageClass"] = config.storage_class
    if config.tags:
        parameters["Tagging"] = urlencode(config.tags)
    if config.metadata:
        parameters["Metadata"] = config.metadata
    if config.encryption != "bucket":
        parameters["ServerSideEncryption"] = config.encryption
    if config.kms_key_id is not None:
        parameters["SSEKMSKeyId"] = config.kms_key_id
    if config.bucket_key:
        parameters["BucketKeyEnabled"] = True
    if config.acl is not None:
        parameters["ACL"] = config.acl
    if config.expected_bucket_owner is not None:
        parameters["ExpectedBucketOwner"] = config.expected_bucket_owner
    return parameters
