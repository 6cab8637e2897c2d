"""Sink `gcp-storage`: batches or single messages as objects in a Cloud Storage bucket."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from edgerouter import DELIVERED, Limits, Message, Outcome, Sink, SinkContext, Unauthorized, Unavailable
from edgerouter.objects import KeyTemplate, compress, content_encoding, content_type, encode, size_of, sizes_of
from edgerouter_gcp.connection import SECONDS_TO_OPEN, UNBOUNDED, Connection, connect
from edgerouter_gcp.storage.config import MARK, StorageConfig
from edgerouter_gcp.storage.resumable import ResumableStorage

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_CREATE = "storage.objects.create"
_ROLE = "roles/storage.objectCreator"
_MAX_OBJECT_BYTES = 5 * 1024**4
"""https://cloud.google.com/storage/quotas#objects"""
_THREAD_ABOVE = 64 * 1024
"""Framing, compressing and summing up more than this would hold up the event loop."""


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
            await _check(connection, storage, config.bucket)
            yield cls(config, context, connection, storage)

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=1 if self._config.framing == "payload" else None, max_bytes=_MAX_OBJECT_BYTES)

    @property
    def stable_batches(self) -> bool:
        return self._config.framing != "payload"

    def size_of(self, message: Message) -> int:
        return size_of(message, self._config.framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return sizes_of(messages, self._config.framing)

    def partition_of(self, message: Message) -> Hashable:
        return self._template.partition_of(message, self._context)

    def order_of(self, message: Message) -> Hashable:
        return self.partition_of(message) if self._ordered else None

    async def write(self, batch: Sequence[Message]) -> Outcome:
        item = await self._object(batch)
        doing = self._doing(item)
        with self._connection.translated(doing, role=f"{_ROLE} on the bucket"):
            answer = await self._upload(item)
        if answer is None:
            await self._see_that_it_is_ours(item, doing)
            return DELIVERED
        self._connection.token.accepted()
        if not isinstance(answer, dict) or answer.get("name") != item.name:
            raise Unavailable(f"{doing}: the answer is not Cloud Storage's")
        generation = answer.get("generation")
        return Outcome(receipts=None if generation is None else str(generation))

    async def _upload(self, item: _Object) -> Any:
        """Upload an object; return `None` if one of this name is there."""
        try:
            return await self._storage.upload(
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
                return None
            raise

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
        mark = f"{self._context.name} {first.id} {last.place} {len(batch)}"
        resource = self._resource | {
            # Cloud Storage refuses an upload whose bytes do not fit it
            "Md5-Hash": b64encode(md5(data, usedforsecurity=False).digest()).decode(),
            "metadata": {**self._config.metadata, MARK: mark},
        }
        if self._config.custom_time:
            resource["Custom-Time"] = first.time.isoformat().replace("+00:00", "Z")
        return _Object(self._template.key_of(batch, self._context), data, resource, mark)

    async def _see_that_it_is_ours(self, item: _Object, doing: str) -> None:
        """Check an object that was there: written by an attempt whose answer was lost, or by another writer under the same name.

        Raises:
            Unauthorized: it holds something else, so this batch is not stored.
            Unavailable: the outcome is unknown.
        """
        found = await self._find(item, doing)
        if found is None:
            return  # an objectCreator may not look; the key holds the batch's id, so it can hardly be another
        if not found:
            raise Unavailable(f"{doing}: an object of this name was there and has gone; it is written again")
        if found.get("md5Hash") != item.resource["Md5-Hash"] and found.get("metadata", {}).get(MARK) != item.mark:
            raise Unauthorized(f"{doing}: an object of this name holds something else; put {{sink}} into `key`")

    async def _occupied(self, item: _Object) -> bool:
        """Find an object of this name without the permission to look: an upload that may only create is refused if there is one.

        Nothing is sent after the beginning, so no object comes of it. The key holds the batch's id, so it can hardly be another.
        """
        with self._connection.of_service(self._doing(item)):
            try:
                await self._storage.begin(self._config.bucket, item.name, dict(self._parameters))
            except aiohttp.ClientResponseError as error:
                if error.status == 412:
                    return True
                raise
        return False

    async def _find(self, item: _Object, doing: str) -> dict[str, Any] | None:
        """Describe the object under this name: empty if there is none, `None` where looking is not allowed.

        Raises:
            Unavailable: the service did not answer.
        """
        with self._connection.of_service(doing):
            try:
                return await self._storage.describe(self._config.bucket, item.name)
            except aiohttp.ClientResponseError as error:
                if error.status == 403:
                    return None
                if error.status == 404:
                    return {}
                raise


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


async def _check(connection: Connection, storage: _Storage, bucket: str) -> None:
    """Check that objects may be created.

    Raises:
        Unavailable: they may not, or the service cannot be reached.
    """
    doing = f"open bucket {bucket}"
    missing = Unauthorized(f"{doing}: there is no such bucket; create it, or look at its name")
    with connection.of_service(doing, role=f"{_ROLE} on the bucket", missing=missing):
        async with asyncio.timeout(SECONDS_TO_OPEN):
            if connection.anonymous:  # emulators do not know permissions
                await storage.get_bucket_metadata(bucket)
                return
            allowed = await storage.permissions(bucket)
    connection.token.accepted()
    if _CREATE not in allowed:
        grant = f"grant {_ROLE} on the bucket to {connection.token.identity}"
        raise Unauthorized(f"{doing}: the bucket is there, creating objects in it is not allowed: {grant}")
