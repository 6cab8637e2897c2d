"""A blob for each batch, written once: the same batch gives the same name and the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ContainerClient

from edgerouter_azure.blob.append import marked_name


class BlockBlobs:
    """Writes blobs of one container, each in one request.

    Args:
        container: where.
        overwrite: replace what is there, instead of leaving it if it is the same.
        settings: content type and encoding.
        properties: what else `upload_blob` gets.
    """

    def __init__(
        self, container: ContainerClient, *, overwrite: bool, settings: Mapping[str, str | None], properties: Mapping[str, Any]
    ) -> None:
        self._container, self._overwrite, self._settings, self._properties = container, overwrite, settings, properties

    async def store(self, name: str, data: bytes) -> str | None:
        """Write, unless it is there already. A name that holds something else stays; ours then gets a mark in its name.

        Returns:
            ETag of the blob; `None` if it was there before.

        Raises:
            AzureError: whatever the SDK raises; the same call may be made again.
        """
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        tag = await self._put(name, data, digest)
        if tag is not None or await self._find(name, len(data), digest) is not False:
            return tag  # where we may write and not look: the name holds the batch's id, so it can hardly be another
        # the same first and last message, but not the same batch: a replay with other filters
        return await self._put(marked_name(name, digest.hex()[:8]), data, digest)

    async def _put(self, name: str, data: bytes, digest: bytes) -> str | None:
        """Return the ETag of the new blob; `None` if the name is taken and stays."""
        settings = ContentSettings(content_md5=bytearray(digest), **self._settings)
        blob = self._container.get_blob_client(name)
        try:
            answer = await blob.upload_blob(
                data, length=len(data), overwrite=self._overwrite, content_settings=settings, **self._properties
            )
        except ResourceExistsError as error:
            if error.error_code != "BlobAlreadyExists":  # type: ignore[attr-defined]  # the storage SDK adds it
                raise
            return None
        return str(answer.get("etag") or "")

    async def holds(self, name: str, data: bytes) -> bool:
        """Return True when the blob exists and holds these bytes; False without permission to read.

        Raises:
            AzureError: the service did not answer.
        """
        return bool(await self._find(name, len(data), hashlib.md5(data, usedforsecurity=False).digest()))

    async def _find(self, name: str, size: int, digest: bytes) -> bool | None:
        """Return True when the blob holds these bytes; `None` without permission to read."""
        try:
            found = await self._container.get_blob_client(name).get_blob_properties()
        except ResourceNotFoundError:
            return False
        except HttpResponseError as error:
            if error.status_code == 403:
                return None
            raise
        return bool(found.size == size and bytes(found.content_settings.content_md5 or b"") == digest)
