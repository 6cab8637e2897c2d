"""The sink aws-s3: one object for each batch, or for each message, in an S3 bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, Protocol, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from edgerouter import ByteSize, Failure, Limits, Message, Outcome, Sink, SinkConfig, SinkContext, Unauthorized
from edgerouter.objects import Compression, Framing, KeyTemplate, ObjectKey, content_encoding, content_type, encode, size_of
from edgerouter_aws.s3.bucket import MOST_OBJECT_BYTES, Bucket, BucketName, bucket_call, open_s3
from edgerouter_aws.s3.columns import ParquetOptions
from edgerouter_aws.session import AwsSettings

_ENCODE_IN_THREAD_BYTES = 64 * 1024
"""Compressing more than this would hold up the event loop for milliseconds."""


_MOST_METADATA_BYTES = 2 * 1024
"""Names and values together (S3 user guide, "User-defined object metadata")."""
TagName = Annotated[str, Field(min_length=1, max_length=128)]
TagValue = Annotated[str, Field(max_length=256)]
MetadataName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
MetadataValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
"""They travel as HTTP headers."""

_OF_TAGS = frozenset(" +-=._:/@")
"""Beside letters and digits (S3 user guide, "Object tagging")."""


def _is_tag(text: str) -> bool:
    return "${" in text or all(character.isalnum() or character in _OF_TAGS for character in text)


_ENDINGS = {
    "jsonl": ".jsonl.gz",
    "jsonl-exact": ".jsonl.gz",
    "raw-lines": ".txt.gz",
    "length-prefixed": ".bin.gz",
    "payload": "",
    "parquet": ".parquet",
}


class Table(Protocol):
    """Encodes batches as files of their own kind."""

    def encode(self, batch: Sequence[Message]) -> tuple[bytes, Sequence[Failure]]:
        """The file with all messages but those in the failures."""


class S3Config(AwsSettings, SinkConfig):
    """Objects in an S3 bucket, or in a service that is compatible with S3."""

    bucket: BucketName
    """Name of the bucket, or ARN of an access point."""
    key: ObjectKey | None = None
    """Key of an object, a template (docs/reference/templates.md). Messages that share everything in it but numbers share an object.
    By default `{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}` and an ending for the framing, such as `.jsonl.gz`."""
    framing: Literal["jsonl", "jsonl-exact", "raw-lines", "length-prefixed", "payload", "parquet"] = "jsonl"
    """Content of an object: `jsonl`, one JSON object a line; `jsonl-exact`, the same with every payload as text, or as base64 where
    it is not text, so that any JSON parser restores every byte; `raw-lines`, each payload and a newline; `length-prefixed`, each
    payload after its length as 4 bytes, big-endian; `payload`, one message's payload; `parquet`, a table (needs
    `edgerouter-aws[parquet]`)."""
    ordered: bool | None = None
    """With `concurrency`, write the objects of one folder one after the other, in order. By default that is so for objects of many
    messages, and not with `framing: payload`, since objects of one message have no order to keep."""
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """Compression of an object; `auto` follows the extension of `key`: `.gz` or `.zst`."""
    content_type: str | None = None
    """Media type of the objects; by default what `framing` is."""
    content_encoding: Literal["auto", "none"] = "auto"
    """Declare the compression in the Content-Encoding header, so that browsers and HTTP clients undo it."""
    parquet: ParquetOptions = ParquetOptions()
    """The table, with `framing: parquet`."""
    storage_class: str | None = None
    """Storage class, such as `STANDARD_IA` or `GLACIER_IR`."""
    tags: dict[TagName, TagValue] = Field(default={}, max_length=10)
    """Tags of every object; needs the permission s3:PutObjectTagging."""
    metadata: dict[MetadataName, MetadataValue] = Field(default={})
    """User metadata of every object: ASCII, at most 2 KB in all."""
    encryption: Literal["bucket", "AES256", "aws:kms", "aws:kms:dsse"] = "bucket"
    """Encryption at rest; `bucket` leaves it to the bucket's default, which is at least SSE-S3 (`AES256`)."""
    kms_key_id: str | None = None
    """Key of `aws:kms`; by default the account's own for S3."""
    bucket_key: bool = False
    """Use an S3 bucket key, which makes far fewer requests to KMS."""
    acl: str | None = None
    """Canned ACL, such as `bucket-owner-full-control`; buckets of today take none."""
    expected_bucket_owner: str | None = Field(default=None, pattern=r"^\d{12}$")
    """Account that must own the bucket; otherwise nothing is written."""
    create_only: bool = False
    """Never replace an object: one that is already under the key counts as written (a conditional write)."""
    multipart: ByteSize = Field(default=64 * 1024**2, ge=5 * 1024**2)
    """Objects over this size are uploaded in parts of this size."""
    checksums: bool | None = None
    """Send a CRC32 with every object. On for AWS; off with `endpoint_url`, because some compatible services do not know it."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Position of the bucket's name: in the path or in the host name."""
    probe: bool = True
    """Check on opening that objects may be stored, by beginning a multipart upload and giving it up. Turn it off where
    the policy allows only some keys and the fixed start of `key` is not one of them."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kms_key_id is not None and not self.encryption.startswith("aws:kms"):
            raise ValueError("kms_key_id needs encryption: aws:kms")
        if sum(len(name) + len(value) for name, value in self.metadata.items()) > _MOST_METADATA_BYTES:
            raise ValueError(f"the metadata is over {_MOST_METADATA_BYTES} bytes, which is all that S3 takes")
        if bad := [name for name, value in self.tags.items() if name.lower().startswith("aws:") or not _is_tag(name + value)]:
            raise ValueError(
                f"tags are of letters, digits, spaces and +-=._:/@, and their names do not begin with aws: {', '.join(bad)}"
            )
        if self.framing == "parquet" and self.compression != "auto":
            raise ValueError("a Parquet file is compressed inside: set parquet.compression instead of compression")
        return self


class S3Sink(Sink[S3Config]):
    """Stores each batch as one object. The key and the bytes follow from the batch, so a retry stores the same object again."""

    def __init__(self, bucket: Bucket, config: S3Config, context: SinkContext) -> None:
        self._bucket = bucket
        self._names = context
        self._key = KeyTemplate.parse(_key(config))
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
                await bucket.probe(_key(config).partition("{")[0], parts=context.probe)
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


def _key(config: S3Config) -> str:
    return config.key if config.key is not None else "{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}" + _ENDINGS[config.framing]


def _table(options: ParquetOptions) -> Table:
    """The encoder of Parquet files; pyarrow takes a second to import, so it is imported here and not with the module."""
    try:
        from edgerouter_aws.s3.parquet import ParquetTable  # noqa: PLC0415
    except ImportError as error:
        raise Unauthorized(f"framing: parquet needs pyarrow: pip install 'edgerouter-aws[parquet]' ({error})") from error
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
