"""Blobs that grow: each batch is appended once, whatever becomes of the answer.

An append says at which position it must land. If the answer is lost, the next attempt of the same batch reads what stands there:
its own bytes mean that the first attempt was taken. Positions outlive the sink, which is opened anew where it is refused. After a
restart of the process a position is not known; then the end of the blob is compared, which is exact where the bytes hold message
ids (JSON Lines) and is left out where they do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from edgerouter import Unavailable

MOST_BLOCKS = 50_000
"""https://learn.microsoft.com/azure/storage/blobs/scalability-targets: blocks in an append blob"""
_MOST_KNOWN = 10_000
_PIECES_OVER_BYTES = 256 * 1024
"""A larger body is written piece by piece, as the connection takes it, instead of being copied into its buffer at once."""


@dataclass(slots=True)
class _Tail:
    """End of a growing blob."""

    known: bool = False
    """True if the following fields describe the blob as this sink left it."""
    part: int = 0
    """Number of times it was rolled over."""
    size: int = 0
    blocks: int = 0
    doubt: int | None = None
    """Position of an append whose outcome is unknown."""
    last: bytes = b""
    """Digest of what was appended last."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Appends to one blob come one after the other."""


class AppendBlobs:
    """Appends to blobs of one container.

    Args:
        sink: name of the sink whose blobs they are.
        container: where.
        roll_bytes: no blob grows beyond this.
        identifiable: equal bytes are the same batch, because they hold message ids.
        properties: what `create_append_blob` gets.
    """

    _of_sinks: ClassVar[dict[tuple[str, str], OrderedDict[str, _Tail]]] = {}
    """By sink and container: a sink that is opened anew still knows which append has no answer."""

    def __init__(
        self, sink: str, container: ContainerClient, roll_bytes: int, *, identifiable: bool, properties: Mapping[str, Any]
    ) -> None:
        self._container, self._roll_bytes = container, roll_bytes
        self._identifiable, self._properties = identifiable, properties
        self._tails = self._of_sinks.setdefault((sink, container.url.partition("?")[0]), OrderedDict())

    async def store(self, name: str, data: bytes) -> str | None:
        """Append, unless an earlier attempt was taken.

        Returns:
            ETag of the blob after the append; `None` if an earlier attempt was taken.

        Raises:
            Unavailable: another writer appends to the blob.
            AzureError: whatever the SDK raises; the same call may be made again.
        """
        tail = self._tail(name)
        tag = None
        async with tail.lock:
            if not await self._is_there(name, tail, data):
                while tail.blocks >= MOST_BLOCKS or (tail.size and tail.size + len(data) > self._roll_bytes):
                    await self._roll(name, tail)
                tag = await self._append_at(name, tail, data)
            tail.last = _digest(data)
        return tag

    async def holds(self, name: str, data: bytes) -> bool:
        """Return True when the bytes stand where an earlier attempt sent them.

        Raises:
            AzureError: the service did not answer.
        """
        tail = self._tail(name)
        async with tail.lock:
            there = await self._is_there(name, tail, data)
            if there:
                tail.last = _digest(data)
            return there

    def _tail(self, name: str) -> _Tail:
        tail = self._tails.setdefault(name, _Tail())
        self._tails.move_to_end(name)
        if len(self._tails) > _MOST_KNOWN:
            oldest = next(iter(self._tails))
            if not self._tails[oldest].lock.locked():
                del self._tails[oldest]
        return tail

    async def _is_there(self, name: str, tail: _Tail, data: bytes) -> bool:
        """Return True if an earlier attempt of the same batch was stored; afterwards the tail is known."""
        if not tail.known:
            there = await self._look(name, tail, data)
            tail.known = True
            return there
        if tail.doubt is not None:
            return await self._settle(name, tail, tail.doubt, data)
        return self._identifiable and tail.last == _digest(data)

    async def _append_at(self, name: str, tail: _Tail, data: bytes) -> str | None:
        while True:
            blob = self._container.get_blob_client(part_name(name, tail.part))
            try:
                body = data if len(data) <= _PIECES_OVER_BYTES else io.BytesIO(data)
                answer = await blob.append_block(body, length=len(data), appendpos_condition=tail.size)
            except HttpResponseError as error:
                code = error.error_code  # type: ignore[attr-defined]  # the storage SDK adds it
                if code == "BlockCountExceedsLimit":
                    await self._roll(name, tail)
                    continue
                if code == "AppendPositionConditionNotMet":
                    if await self._settle(name, tail, tail.size, data):
                        return None
                    raise Unavailable(f"another writer appends to blob {name}; give each router its own name") from error
                if error.status_code == 404:
                    tail.known = False
                if (error.status_code or 500) >= 500:
                    tail.doubt = tail.size
                raise
            except BaseException:
                tail.doubt = tail.size
                raise
            tail.size += len(data)
            tail.blocks = int(str(answer["blob_committed_block_count"]))
            return str(answer.get("etag") or "")

    async def _settle(self, name: str, tail: _Tail, at: int, data: bytes) -> bool:
        """After an unknown outcome: whether these bytes stand where they were sent.

        An attempt that is still on its way does no harm: of two appends at one position the service takes one.
        """
        tail.doubt = at  # until all of this is done: it may be cut short as well
        if not await self._measure(name, tail):
            await self._create(name, tail)
        taken = tail.size >= at + len(data) and await self._read(name, tail.part, at, len(data)) == data
        tail.doubt = None
        return taken

    async def _look(self, name: str, tail: _Tail, data: bytes) -> bool:
        """After a start: find the blob's last part, and whether these bytes are its end."""
        tail.part, tail.doubt = 0, None
        if not await self._measure(name, tail):
            await self._create(name, tail)
            return False
        last = _Tail(part=1)
        while await self._measure(name, last):
            tail.part, tail.size, tail.blocks = last.part, last.size, last.blocks
            last.part += 1
        at = tail.size - len(data)
        return self._identifiable and at >= 0 and await self._read(name, tail.part, at, len(data)) == data

    async def _measure(self, name: str, tail: _Tail) -> bool:
        """Return the length of this part; False if it does not exist."""
        try:
            found = await self._container.get_blob_client(part_name(name, tail.part)).get_blob_properties()
        except ResourceNotFoundError as error:
            if error.error_code == "ContainerNotFound":  # type: ignore[attr-defined]  # the storage SDK adds it
                raise
            return False
        tail.size, tail.blocks = found.size, found.append_blob_committed_block_count or 0
        return True

    async def _create(self, name: str, tail: _Tail) -> None:
        blob = self._container.get_blob_client(part_name(name, tail.part))
        try:
            await blob.create_append_blob(match_condition=MatchConditions.IfMissing, **self._properties)
        except ResourceExistsError:
            await self._measure(name, tail)
            return
        tail.size = tail.blocks = 0

    async def _roll(self, name: str, tail: _Tail) -> None:
        """Go on in the next part. It may fail and come again, so the tail stays what it is until that part is there."""
        following = _Tail(part=tail.part + 1)
        if not await self._measure(name, following):
            await self._create(name, following)
        tail.part, tail.size, tail.blocks = following.part, following.size, following.blocks

    async def _read(self, name: str, part: int, at: int, size: int) -> bytes:
        blob = self._container.get_blob_client(part_name(name, part))
        return bytes(await (await blob.download_blob(offset=at, length=size, decompress=False)).readall())


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def part_name(name: str, part: int) -> str:
    """`a/b.jsonl` is continued in `a/b.1.jsonl`, `a/b.2.jsonl` ..."""
    return name if part == 0 else marked_name(name, str(part))


def marked_name(name: str, mark: str) -> str:
    """The name with a mark before its endings: `a/b.jsonl.gz` becomes `a/b.MARK.jsonl.gz`."""
    folder, slash, file = name.rpartition("/")
    stem, dot, ending = file.partition(".")
    return f"{folder}{slash}{stem}.{mark}{dot}{ending}"
