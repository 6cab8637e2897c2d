"""Sink `azure-blob`: batches as block blobs, or appended to blobs that grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError

from edgerouter import Limits, Message, Outcome, Sink, SinkContext, Unauthorized
from edgerouter.objects import content_encoding, content_type, encode, size_of, sizes_of
from edgerouter_azure.blob.config import BlobConfig, open_service
from edgerouter_azure.blob.shared_signature import permission_missing, time_missed
from edgerouter_azure.credentials import cause
from edgerouter_azure.errors import translate, translate_at_opening
from edgerouter_azure.sdk import load

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

_HINT = "writing needs the role Storage Blob Data Contributor, or a key or a shared access signature of this account"
_THREAD_ABOVE = 64 * 1024
"""Framing and compressing more than this would hold up the event loop."""


class Blobs(Protocol):
    """A way to store batches."""

    async def store(self, name: str, data: bytes) -> str | None: ...

    async def holds(self, name: str, data: bytes) -> bool: ...


class BlobSink(Sink[BlobConfig]):
    """Name and bytes of a blob follow from the batch, so that a retry finds or writes the same."""

    def __init__(self, config: BlobConfig, context: SinkContext, blobs: Blobs) -> None:
        self._config, self._blobs, self._context = config, blobs, context
        self._container, self._framing, self._grows = config.container, config.framing, config.blob_type == "append"
        self._template = config.template()
        self._compression = config.chosen_compression()
        largest = config.largest_request()
        self._limits = Limits(1 if config.framing == "payload" else None, largest, largest)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: BlobConfig, context: SinkContext) -> AsyncIterator[Self]:
        doing = f"open container {config.container}"
        await load("edgerouter_azure.blob.append", "edgerouter_azure.blob.block")
        async with open_service(config) as service:
            container = service.get_container_client(config.container)
            try:
                await _look(config, container)
            except (AzureError, OSError) as error:
                raise translate_at_opening(error, doing, hint=_HINT) from cause(config, error)
            yield cls(config, context, _blobs(config, container, context.name))

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def stable_batches(self) -> bool:
        # an append is recognised by its bytes, and those follow from the batch
        return self._grows or self._framing != "payload"

    def size_of(self, message: Message) -> int:
        return size_of(message, self._framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return sizes_of(messages, self._framing)

    def partition_of(self, message: Message) -> Hashable:
        return self._template.partition_of(message, self._context)

    def order_of(self, message: Message) -> Hashable:
        return self.partition_of(message) if self._grows else None

    async def write(self, batch: Sequence[Message]) -> Outcome:
        name, data = await self._named(batch)
        with self._translated(name):
            return Outcome(receipts=await self._blobs.store(name, data))

    async def holds(self, batch: Sequence[Message]) -> bool:
        name, data = await self._named(batch)
        with self._translated(name):
            return await self._blobs.holds(name, data)

    async def _named(self, batch: Sequence[Message]) -> tuple[str, bytes]:
        name = self._template.key_of(batch, self._context)
        if sum(len(message.payload) for message in batch) > _THREAD_ABOVE:
            return name, await asyncio.to_thread(encode, batch, self._framing, self._compression)
        return name, encode(batch, self._framing, self._compression)

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except (AzureError, OSError) as error:
            raise translate(error, f"write blob {self._container}/{name}", hint=_HINT) from cause(self._config, error)


def _blobs(config: BlobConfig, container: ContainerClient, sink: str) -> Blobs:
    from azure.storage.blob import ContentSettings, StandardBlobTier  # noqa: PLC0415  (255 ms that only an open sink needs)

    from edgerouter_azure.blob.append import AppendBlobs  # noqa: PLC0415  (brings the SDK)
    from edgerouter_azure.blob.block import BlockBlobs  # noqa: PLC0415  (brings the SDK)

    encoding = content_encoding(config.chosen_compression()) if config.content_encoding == "auto" else None
    settings: dict[str, Any] = {"content_type": config.content_type or content_type(config.framing), "content_encoding": encoding}
    properties: dict[str, Any] = {}
    if config.metadata:
        properties["metadata"] = dict(config.metadata)
    if config.tags:
        properties["tags"] = dict(config.tags)
    if config.blob_type == "append":
        properties["content_settings"] = ContentSettings(**settings)
        identifiable = config.framing in ("jsonl", "jsonl-exact")
        return AppendBlobs(sink, container, config.roll_bytes, identifiable=identifiable, properties=properties)
    if config.tier is not None:
        properties["standard_blob_tier"] = StandardBlobTier(config.tier.capitalize())
    return BlockBlobs(container, overwrite=config.overwrite, settings=settings, properties=properties)


async def _look(config: BlobConfig, container: ContainerClient) -> None:
    """See that the container is there, and make it if that is wanted and permitted.

    Raises:
        AzureError: it is not, or we may not write.
        Unauthorized: it is not.
    """
    if missing := permission_missing(config.signature(), append=config.blob_type == "append"):
        raise Unauthorized(f"open container {config.container}: {missing}")
    try:
        await container.get_container_properties()
    except ResourceNotFoundError as error:
        if not config.create_container:
            raise Unauthorized(f"there is no container {config.container}") from error
    except HttpResponseError as error:
        signature = config.signature()
        # it may allow nothing but writing; then the first write shows it
        if error.status_code != 403 or not signature or error.error_code == "AuthenticationFailed":  # type: ignore[attr-defined]  # the storage SDK adds it
            raise
        if missed := time_missed(signature):
            raise Unauthorized(f"open container {config.container}: {missed}") from cause(config, error)
        return
    else:
        return
    try:
        await container.create_container()
    except ResourceExistsError:
        return
    except HttpResponseError as error:
        if error.status_code == 403:
            raise Unauthorized(f"there is no container {config.container}, and we may not make it; {_HINT}") from error
        raise
