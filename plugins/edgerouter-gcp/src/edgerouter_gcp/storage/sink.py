"""Sink `gcp-storage`: batches or single messages as objects in a Cloud Storage bucket."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import md5
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import aiohttp
from pydantic import AfterValidator, Field, model_validator

from edgerouter import (
    DELIVERED,
    ByteSize,
    Limits,
    Message,
    Outcome,
    Rejected,
    Sink,
    SinkConfig,
    SinkContext,
    Unauthorized,
    Unavailable,
)
from edgerouter.objects import (
    Compression,
    Framing,
    KeyTemplate,
    ObjectKey,
    compress,
    content_encoding,
    content_type,
    encode,
    size_of,
)
from edgerouter_gcp.connection import SECONDS_TO_OPEN, UNBOUNDED, Connection, connect
from edgerouter_gcp.credentials import GoogleFields
from edgerouter_gcp.errors import read_answer
from edgerouter_gcp.storage.resumable import ResumableStorage

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_CREATE = "storage.objects.create"
_ROLE = "roles/storage.objectCreator"
_MAX_OBJECT_BYTES = 5 * 1024**4
"""https://cloud.google.com/storage/quotas#objects"""
_MAX_METADATA_BYTES = 8192
_MARK = "edgerouter"
"""Custom metadata that says which batch an object holds."""
_THREAD_ABOVE = 64 * 1024
"""Framing, compressing and summing up more than this would hold up the event loop."""


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


def _bucket(name: str) -> str:
    if "${" not in name and _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a bucket: small letters, digits, dots, hyphens and underscores, at least 3")
    return name


class StorageConfig(GoogleFields, SinkConfig):
    """Configuration of `gcp-storage`. The account needs roles/storage.objectCreator on the bucket."""

    bucket: Annotated[str, AfterValidator(_bucket)]
    """The bucket, which must be there."""
    key: ObjectKey = "{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz"
    """Name of each object, a template (docs/reference/templates.md). Messages whose names differ in a folder go to different
    objects."""
    framing: Framing = "jsonl"
    """`jsonl`: one JSON object a line with topic, time, id and payload. `jsonl-exact`: the same with every payload as text, or as
    base64 where it is not text, so that any JSON parser restores every byte. `raw-lines`: each payload and a newline.
    `length-prefixed`: each payload after its length in 4 bytes. `payload`: one message an object, its payload and nothing else."""
    ordered: bool | None = None
    """With `concurrency`, write the objects of one folder one after the other, in order. By default that is so for objects of many
    messages, and not with `framing: payload`, since objects of one message have no order to keep."""
    compression: Compression | None = None
    """`none`, `gzip` or `zstd`. Default: what the end of `key` says, `.gz` or `.zst`."""
    decompress_on_download: bool = False
    """Store gzip as a `Content-Encoding`, so that Cloud Storage decompresses the object for clients that do not accept
    gzip. Otherwise the object is a compressed file."""
    content_type: str | None = None
    """Media type of the objects. Default: what `framing` and `compression` give."""
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] | None = None
    """Storage class of the objects. Default: the bucket's."""
    metadata: Mapping[str, str] = Field(default_factory=dict)
    """Custom metadata of every object."""
    kms_key: str | None = Field(default=None, pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$")
    """Cloud KMS key that encrypts the objects: `projects/P/locations/L/keyRings/R/cryptoKeys/K`. Default: the bucket's."""
    custom_time: bool = False
    """Set each object's custom time to when its first message was received, for lifecycle rules that go by age."""
    resumable_above: ByteSize = 8 * 1024 * 1024
    """Objects larger than this are uploaded in a resumable session: after an interruption only the rest is sent."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if _MARK in self.metadata:
            raise ValueError(f"metadata cannot hold {_MARK!r}: the name is taken")
        if sum(len(name.encode()) + len(value.encode()) for name, value in self.metadata.items()) > _MAX_METADATA_BYTES // 2:
            raise ValueError(f"metadata holds more than {_MAX_METADATA_BYTES // 2} bytes")
        if self.decompress_on_download and self.chosen_compression != "gzip":
            raise ValueError("decompress_on_download needs gzip")
        return self

    @property
    def chosen_compression(self) -> Compression:
        """`compression`, or what the key says."""
        return self.compression if self.compression is not None else KeyTemplate.parse(self.key).compression


@dataclass(frozen=True, slots=True)
class _Object:
    """One object, ready to be uploaded."""

    name: str
    data: bytes
    resource: dict[str, Any]
    mark: str


class _Storage(ResumableStorage):
    """gcloud-aio's client without its retries, and with three calls that it lacks."""

    async def permissions(self, bucket: str) -> set[str]:
        url = f"{self._api_root_read}/{bucket}/iam/testPermissions"
        response = await self.session.get(url, headers=await self._headers(), params={"permissions": _CREATE})
        return set((await response.json(content_type=None)).get("permissions", ()))

    async def describe(self, bucket: str, name: str) -> dict[str, Any]:
        url = f"{self._api_root_read}/{bucket}/o/{quote(name, safe='')}"
        response = await self.session.get(url, headers=await self._headers(), params={"fields": "md5Hash,metadata"})
        described: dict[str, Any] = await response.json(content_type=None)
        return described

    async def begin(self, bucket: str, name: str, parameters: dict[str, str]) -> None:
        headers = await self._headers() | {"Content-Type": "application/octet-stream", "Content-Length": "0"}
        await self._initiate_upload(f"{self._api_root_write}/{bucket}/o", name, parameters, headers)


class StorageSink(Sink[StorageConfig]):
    """Writes each batch as one object that is created once: the same batch gives the same name and is never stored twice."""

    def __init__(self, config: StorageConfig, context: SinkContext, connection: Connection, storage: _Storage) -> None:
        self._config = config
        self._context = context
        self._connection = connection
        self._storage = storage
        self._template = KeyTemplate.parse(config.key)
        self._compression = config.chosen_compression
        self._ordered = config.ordered if config.ordered is not None else config.framing != "payload"
        self._parameters = {"ifGenerationMatch": "0"} | ({"kmsKeyName": config.kms_key} if config.kms_key else {})
        self._content_type, self._resource = _common_resource(config)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: StorageConfig, context: SinkContext) -> AsyncIterator[Self]:
        root = "https://storage.googleapis.com"
        async with connect(config, scopes=_SCOPES, endpoint=root, emulator_variable="STORAGE_EMULATOR_HOST") as connection:
            storage = _Storage(
                session=connection.session, token=connection.token, api_root=connection.endpoint, api_is_dev=connection.anonymous
            )
            await _look(connection, storage, config.bucket)
            yield cls(config, context, connection, storage)

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=1 if self._config.framing == "payload" else None, max_bytes=_MAX_OBJECT_BYTES)

    @property
    def stable_batches(self) -> bool:
        return self._config.framing != "payload"

    def size_of(self, message: Message) -> int:
        return size_of(message, self._config.framing)

    def partition_of(self, message: Message) -> Hashable:
        return self._template.partition_of(message, self._context)

    def order_of(self, message: Message) -> Hashable:
        return self.partition_of(message) if self._ordered else None

    async def write(self, batch: Sequence[Message]) -> Outcome:
        item = await self._object(batch)
        doing = self._doing(item)
        try:
            answer = await self._storage.upload(
                self._config.bucket,
                item.name,
                item.data,
                content_type=self._content_type,
                parameters=dict(self._parameters),
                metadata=item.resource,
                force_resumable_upload=len(item.data) > self._config.resumable_above,
                timeout=UNBOUNDED,  # type: ignore[arg-type]  # passed on to aiohttp, which takes both
            )
        except aiohttp.ClientResponseError as error:
            if error.status == 412:
                await self._see_that_it_is_ours(item, doing)
                return DELIVERED
            raise self._connection.explain(error, doing, role=f"{_ROLE} on the bucket") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            # not `from error`: an aiohttp error's repr shows the request's headers, the access token among them
            raise self._connection.explain(error, doing) from None
        self._connection.token.accepted()
        if not isinstance(answer, dict) or answer.get("name") != item.name:
            raise Unavailable(f"{doing}: the answer is not Cloud Storage's")
        generation = answer.get("generation")
        return Outcome(receipts=None if generation is None else str(generation))

    async def holds(self, batch: Sequence[Message]) -> bool:
        item = await self._object(batch)
        found = await self._find(item, self._doing(item))
        if found is None:
            return await self._occupied(item)
        return bool(found.get("md5Hash") == item.resource["Md5-Hash"])

    def _doing(self, item: _Object) -> str:
        return f"write gs://{self._config.bucket}/{item.name}"

    async def _object(self, batch: Sequence[Message]) -> _Object:
        size = sum(len(message.payload) for message in batch)
        return self._make(batch) if size <= _THREAD_ABOVE else await asyncio.to_thread(self._make, batch)

    def _make(self, batch: Sequence[Message]) -> _Object:
        data = compress(encode(batch, self._config.framing), self._compression)
        first, last = batch[0], batch[-1]
        mark = f"{self._context.name} {first.id} {last.sequence} {len(batch)}"
        resource = self._resource | {
            # Cloud Storage refuses an upload whose bytes do not fit it
            "Md5-Hash": b64encode(md5(data, usedforsecurity=False).digest()).decode(),
            "metadata": {**self._config.metadata, _MARK: mark},
        }
        if self._config.custom_time:
            resource["Custom-Time"] = first.time.isoformat().replace("+00:00", "Z")
        return _Object(self._template.key_of(batch, self._context), data, resource, mark)

    async def _see_that_it_is_ours(self, item: _Object, doing: str) -> None:
        """The object is there: written by an attempt whose answer was lost, or by another writer under the same name.

        Raises:
            Unauthorized: it holds something else, so this batch is not stored.
            Unavailable: the outcome is unknown.
        """
        found = await self._find(item, doing)
        if found is None:
            return  # an objectCreator may not look; the key holds the batch's id, so it can hardly be another
        if not found:
            raise Unavailable(f"{doing}: an object of this name was there and has gone; it is written again")
        if found.get("md5Hash") != item.resource["Md5-Hash"] and found.get("metadata", {}).get(_MARK) != item.mark:
            raise Unauthorized(f"{doing}: an object of this name holds something else; put {{sink}} into `key`")

    async def _occupied(self, item: _Object) -> bool:
        """Find out without the permission to look: an upload that may only create is refused at its beginning if there is one.

        Nothing is sent after the beginning, so no object comes of it. The key holds the batch's id, so it can hardly be another.
        """
        doing = self._doing(item)
        try:
            await self._storage.begin(self._config.bucket, item.name, dict(self._parameters))
        except aiohttp.ClientResponseError as error:
            if error.status == 412:
                return True
            raise _unavailable(self._connection.explain(error, doing)) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            raise _unavailable(self._connection.explain(error, doing)) from None
        return False

    async def _find(self, item: _Object, doing: str) -> dict[str, Any] | None:
        """Describe the object under this name: empty if there is none, `None` where looking is not allowed.

        Raises:
            Unavailable: the service did not answer.
        """
        try:
            return await self._storage.describe(self._config.bucket, item.name)
        except aiohttp.ClientResponseError as error:
            if error.status == 403:
                return None
            if error.status == 404:
                return {}
            raise _unavailable(self._connection.explain(error, doing)) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(self._connection.explain(error, doing)) from None


def _common_resource(config: StorageConfig) -> tuple[str, dict[str, Any]]:
    """The media type, and what else every object's resource has, in the spelling that gcloud-aio turns into the API's."""
    compression = config.chosen_compression
    resource: dict[str, Any] = {}
    media = config.content_type or content_type(config.framing)
    if config.decompress_on_download:
        resource["Content-Encoding"] = content_encoding(compression)
    elif compression != "none" and config.content_type is None:
        media = f"application/{compression}"
    resource["Content-Type"] = media
    if config.storage_class is not None:
        resource["Storage-Class"] = config.storage_class
    return media, resource


async def _look(connection: Connection, storage: _Storage, bucket: str) -> None:
    """See that writing can work, and say precisely why it cannot.

    Raises:
        Unavailable: it cannot.
    """
    doing = f"open bucket {bucket}"
    grant = f"grant {_ROLE} on the bucket to {connection.token.identity}"
    try:
        async with asyncio.timeout(SECONDS_TO_OPEN):
            if connection.anonymous:  # emulators do not know permissions
                await storage.get_bucket_metadata(bucket)
                return
            allowed = await storage.permissions(bucket)
    except aiohttp.ClientResponseError as error:
        if error.status == 404 and read_answer(error).code:
            raise Unauthorized(f"{doing}: there is no such bucket; create it, or look at its name") from None
        raise _unavailable(connection.explain(error, doing, role=f"{_ROLE} on the bucket")) from None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise _unavailable(connection.explain(error, doing)) from None
    connection.token.accepted()
    if _CREATE not in allowed:
        raise Unauthorized(f"{doing}: the bucket is there, creating objects in it is not allowed: {grant}")


def _unavailable(error: Unavailable | Rejected) -> Unavailable:
    """Treat a refusal without a message as an error of the configuration."""
    return error if isinstance(error, Unavailable) else Unauthorized(str(error))
