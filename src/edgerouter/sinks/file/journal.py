"""Journal beside a growing file: its batches and their offsets, so that no crash writes a batch twice or in half."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import msgspec

from edgerouter.message import Message
from edgerouter.sinks.file.disk import open_new, open_regular, sync_data, sync_folder, write_all

Identity = tuple[str, int, int, int]
"""Identity of a batch: spool, first and last sequence, number of messages. The spool has the parts of the first and last message
behind it where steps made them."""

REMEMBERED = 4096
"""Batches that a router may repeat after a crash: those in flight, and those whose settlement was not on disk yet."""


class Held(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Record: a batch is in this file or an earlier one."""

    spool: str
    first: int
    last: int
    count: int

    @property
    def identity(self) -> Identity:
        """Identity of the batch."""
        return (self.spool, self.first, self.last, self.count)


class Appended(Held, frozen=True, array_like=True, tag=True):
    """Record: a batch is about to be appended."""

    offset: int
    length: int
    crc: int


class Rotated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Record: the file is about to be renamed to this, and a new one begins."""

    name: str


class Based(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Record: size of the file when the journal was started."""

    end: int


Record = Appended | Held | Rotated | Based
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_decode = _decoder.decode
_encode = msgspec.json.Encoder().encode


def identity_of(batch: Sequence[Message]) -> Identity:
    """Return the identity of a batch."""
    first, last = batch[0], batch[-1]
    spool = first.spool if not first.part and not last.part else f"{first.spool} {first.part} {last.part}"
    return (spool, first.sequence, last.sequence, len(batch))


class Journal:
    """Append-only records in one small file, read whole when the sink opens."""

    def __init__(self, folder: int, name: str, mode: int) -> None:
        self._folder = folder
        self._name = name
        self._mode = mode
        self._held: dict[Identity, None] = {}
        self._records = 0
        self._end = self._before_last = 0
        self._torn = False
        self.last: Record | None = None
        """Newest record of an earlier run, the only one whose work may be incomplete; `None` without a journal."""
        self._fd = open_regular(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, mode, folder)
        try:
            self._read()
        except BaseException:
            os.close(self._fd)
            raise

    def holds(self, identity: Identity) -> bool:
        """Return True if a file already holds the batch."""
        return identity in self._held

    def begin(self, batch: Sequence[Message], offset: int, data: bytes) -> None:
        """Record on disk that `data` is about to be appended at `offset`."""
        self._write(Appended(*identity_of(batch), offset, len(data), zlib.crc32(data)))

    def done(self, batch: Sequence[Message]) -> None:
        """Record that the batch begun last is complete and on disk."""
        self._held[identity_of(batch)] = None

    def undo(self) -> None:
        """Record that the batch begun last is not in the file after all."""
        self._end = self._before_last
        self._torn = True

    def rotated(self, name: str) -> None:
        """Record on disk that the file is about to be renamed."""
        self._write(Rotated(name))

    def forget(self, identity: Identity) -> None:
        """Forget a batch of an earlier run that turned out not to be in the file."""
        self._held.pop(identity, None)

    @property
    def is_long(self) -> bool:
        """True once the journal should be rewritten."""
        return self._records > 2 * REMEMBERED

    def rewrite(self, end: int) -> None:
        """Start a new, short journal for a file that ends at `end`."""
        kept = dict.fromkeys(list(self._held)[-REMEMBERED:])
        records = [*(Held(*identity) for identity in kept), Based(end)]
        content = b"".join([_encode(record) + b"\n" for record in records])
        temporary = self._name + ".new"
        fd = open_new(temporary, self._mode, self._folder)
        try:
            write_all(fd, content)
            os.fsync(fd)
            os.rename(temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            sync_folder(self._folder)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._end, self._torn = fd, len(content), False
        self._held, self._records = kept, len(records)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, record: Record) -> None:
        if self._torn:
            os.ftruncate(self._fd, self._end)
        self._torn = True
        line = _encode(record) + b"\n"
        write_all(self._fd, line)
        sync_data(self._fd)
        self._torn = False
        self._before_last = self._end
        self._end += len(line)
        self._records += 1

    def _read(self) -> None:
        content = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        for line in content.splitlines(keepends=True):
            try:
                record = _decode(line)
            except msgspec.DecodeError:
                break  # torn by a crash: the write it announced never began
            if not line.endswith(b"\n"):
                break
            if isinstance(record, Held):
                self._held[record.identity] = None
            self._end += len(line)
            self._records += 1
            self.last = record
        self._torn = self._end < len(content)
