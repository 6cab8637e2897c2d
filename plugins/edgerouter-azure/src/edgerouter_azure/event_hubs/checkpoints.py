"""Offsets up to which a consumer group has been stored: in a file, and in Blob Storage as Azure's own clients keep it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from pydantic import Field, SecretStr, model_validator

from edgerouter import Section
from edgerouter_azure.blob.config import BlobConfig, open_service
from edgerouter_azure.errors import translate_at_opening
from edgerouter_azure.event_hubs.received import Position

_HINT = "checkpoints need the role Storage Blob Data Contributor, or a key of this account"


class Checkpoints(Protocol):
    """Keeps positions over restarts."""

    async def load(self) -> dict[str, Position]: ...  # by partition; raises Unavailable
    async def save(self, positions: Mapping[str, Position]) -> None: ...  # raises Unavailable


class CheckpointStoreConfig(Section):
    """A container of Blob Storage for checkpoints, in the form that Azure's own clients share."""

    connection_string: SecretStr | None = None
    """Connection string of the storage account."""
    account: str | None = Field(default=None, examples=["plantcheckpoints"])
    """Instead of a connection string: the storage account's name. Without `account_key` the source's `credential` is used."""
    account_key: SecretStr | None = None
    """Key of the account."""
    container: str = Field(min_length=3, max_length=63, examples=["checkpoints"])
    """Container; made if it is missing."""
    endpoint: str | None = Field(default=None, examples=["http://127.0.0.1:10000/devstoreaccount1"])
    """URL of the account instead of the cloud's own, for private links and emulators."""
    api_version: str | None = Field(default=None, examples=["2021-12-02"])
    """Version of the service's interface, for emulators that do not know the newest."""

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if (self.connection_string is None) == (self.account is None):
            raise ValueError("either connection_string or account is needed")
        return self

    def as_blob_config(self, shared: Mapping[str, Any]) -> BlobConfig:
        """Return the same account in the form of the blob sink's configuration."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return BlobConfig(**{**shared, **{name: value for name, value in own.items() if value is not None}})


class FileCheckpoints:
    """A small file in the source's own folder.

    Args:
        folder: made when something is kept.
        of: hub and consumer group; a file of others is not used.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self._path = folder / "checkpoints.json"
        self._of = of

    async def load(self) -> dict[str, Position]:
        return await asyncio.to_thread(self._read)

    async def save(self, positions: Mapping[str, Position]) -> None:
        await asyncio.to_thread(self._write, dict(positions))

    def _read(self) -> dict[str, Position]:
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["of"] != self._of:
                return {}
            return {partition: Position(int(sequence), str(offset)) for partition, (sequence, offset) in kept["partitions"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # nothing kept: the start position counts, or what the spool knows

    def _write(self, positions: dict[str, Position]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"of": self._of, "partitions": positions}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


class BlobCheckpoints:
    """One empty blob a partition, with the position in its metadata.

    https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/eventhub/Azure.Messaging.EventHubs.Processor/README.md: other clients
    of the group read and write the same.
    """

    def __init__(self, container: Any, name: str, host: str, hub: str, group: str) -> None:
        self._container = container
        self._doing = f"checkpoints in container {name}"
        self._prefix = f"{host}/{hub}/{group}/checkpoint/".lower()
        self._saved: dict[str, Position] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, config: BlobConfig, host: str, hub: str, group: str) -> AsyncIterator[Self]:
        """Have a client. Sends nothing.

        Raises:
            Unauthorized: the credential cannot be used.
        """
        async with open_service(config) as service:
            yield cls(service.get_container_client(config.container), config.container, host, hub, group)

    async def load(self) -> dict[str, Position]:
        found: dict[str, Position] = {}
        try:
            try:
                async for blob in self._container.list_blobs(name_starts_with=self._prefix, include=["metadata"]):
                    kept = blob.metadata or {}
                    if kept.get("sequencenumber", "").lstrip("-").isdecimal() and kept.get("offset"):
                        position = Position(int(kept["sequencenumber"]), kept["offset"])
                        found[blob.name.removeprefix(self._prefix)] = position
            except ResourceNotFoundError:
                await self._container.create_container()
        except ResourceExistsError:
            pass
        except (AzureError, OSError) as error:
            raise translate_at_opening(error, self._doing, hint=_HINT) from error
        self._saved = dict(found)
        return found

    async def save(self, positions: Mapping[str, Position]) -> None:
        for partition, position in positions.items():
            if self._saved.get(partition) == position:
                continue
            kept = {"offset": position.offset, "sequencenumber": str(position.sequence)}
            try:
                await self._container.upload_blob(self._prefix + partition, b"", overwrite=True, metadata=kept)
            except (AzureError, OSError) as error:
                raise translate_at_opening(error, self._doing, hint=_HINT) from error
            self._saved[partition] = position
