"""File with the place that a source has reached in its stream, for when server and router both die.

A server that is killed forgets acknowledgements that it has confirmed, because it writes them later. It then sends old messages
again, and a router that was killed too knows them only by this file. It is written before an acknowledgement is sent; until the
server has confirmed that, the receipt in the spool recognises the message. A missing file costs repeats, and never a message.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from edgerouter_nats.jetstream.seen import Seen

_FILE: Final = "stored.json"
_MOST_RANGES: Final = 1000
"""Latest ranges to write: of a consumer that several routers share, each has many."""


class _Content(msgspec.Struct):
    consumer: str
    latest: int
    ranges: list[tuple[int, int]]


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
                if content.consumer == self._consumer:
                    return Seen(content.ranges, content.latest)
        return Seen()

    def save(self, ranges: list[tuple[int, int]], latest: int) -> None:
        """Replace the file. A disk that takes nothing is not this source's problem: the spool reports it."""
        if self._folder is None:
            return
        data = msgspec.json.encode(_Content(self._consumer, latest, ranges[-_MOST_RANGES:]))
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            beside = self._folder / f"{_FILE}.new"
            beside.write_bytes(data)
            beside.replace(self._folder / _FILE)
