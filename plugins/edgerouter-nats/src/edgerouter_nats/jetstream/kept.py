"""File with the place that a source has reached in its stream, for when server and router both die.

A server that is killed forgets acknowledgements that it has confirmed, because it writes them later. It then sends old messages
again, and a router that was killed too knows them only by this file.

The file needs no fsync. The order is: the spool has the message on its disk, this file is replaced, the acknowledgement is sent,
the server confirms it, the spool lets the receipt go. So the file names only messages that are stored, and whatever a power cut
leaves of it, the one before, the new one or a torn one that its checksum reveals, costs no message. An older one costs repeats
only where the server has lost its power too and has forgotten acknowledgements that it had confirmed: those of the last seconds,
which the box had not written to its disk. An fsync for each acknowledgement would wear out the flash of a small box for that.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from edgerouter_nats.jetstream.seen import Seen

_FILE: Final = "stored.json"
_MOST_RANGES: Final = 1000
"""Latest ranges to write: of a consumer that several routers share, each has many."""


class _Content(msgspec.Struct):
    consumer: str
    latest: int
    ranges: list[tuple[int, int]]
    checksum: int = 0

    @property
    def sum(self) -> int:
        """Checksum of the other fields."""
        return crc32(msgspec.json.encode((self.consumer, self.latest, self.ranges)))


class Kept:
    """The file of one source; its methods block, so they run in a thread.

    Args:
        folder: the source's folder; `None`: nothing is kept.
        consumer: name of stream and consumer; the file of another is ignored.
    """

    def __init__(self, folder: Path | None, consumer: str) -> None:
        self._folder = folder
        self._consumer = consumer

    def load(self) -> Seen:
        """Return what was stored; nothing if the file cannot be used."""
        if self._folder is not None:
            with suppress(OSError, msgspec.MsgspecError):
                content = msgspec.json.decode((self._folder / _FILE).read_bytes(), type=_Content)
                if content.consumer == self._consumer and content.checksum == content.sum:
                    return Seen(content.ranges, content.latest)
        return Seen()

    def save(self, ranges: list[tuple[int, int]], latest: int) -> None:
        """Replace the file. A disk that takes nothing is not this source's problem: the spool reports it."""
        if self._folder is None:
            return
        content = _Content(self._consumer, latest, ranges[-_MOST_RANGES:])
        content.checksum = content.sum
        data = msgspec.json.encode(content)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            beside = self._folder / f"{_FILE}.new"
            beside.write_bytes(data)
            beside.replace(self._folder / _FILE)
