"""Packing the small chunks of a slow stream into large ones while they wait: a fifth of the space, and a faster drain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import apsw

from edgerouter.message import Message
from edgerouter.spool.log.chunk import MAX_MESSAGES, Codec, Damaged, Header, NewChunk
from edgerouter.spool.log.receipts import Span, overlaps
from edgerouter.spool.sqlite.db.rows import INSERT, Rows

SMALL: Final = 100
"""Chunks of fewer messages are small."""
AFTER: Final = 256
"""Small chunks after which those that still wait are packed."""
LEAST: Final = 16
"""Chunks that are worth packing."""
_MAX_BYTES: Final = 256 * 1024


class Packer:
    """Runs within transactions."""

    def __init__(self, connection: apsw.Connection, rows: Rows, codec: Codec) -> None:
        self._connection = connection
        self._rows = rows
        self._codec = codec
        self._small = 0
        self._from = 0

    def added(self, header: Header) -> None:
        """A chunk is stored."""
        if header.messages < SMALL:
            if not self._small:
                self._from = header.first
            self._small += 1

    def pack(self, end: int, kept: Sequence[Span]) -> None:
        """Pack what has been added since the last time and is still there, if it is much.

        Args:
            end: one above the last sequence.
            kept: chunks that hold any of these stay as they are, because their receipts are still needed.
        """
        if self._small < AFTER:
            return
        headers = self._rows.headers(self._from, end, 2 * AFTER)
        # after a large transaction the rest is for the following ones
        self._small = max(0, self._small - len(headers))
        at, self._from = self._from, headers[-1].first if headers else end
        packable = (each for each in headers if not overlaps(kept, each.first, each.first + each.messages))
        for run in _runs(header for header in packable if header.first >= at):
            if len(run) >= LEAST:
                self._join(run)

    def _join(self, run: list[Header]) -> None:
        first, last = run[0].first, run[-1].first
        if self._connection.execute("SELECT count(*) FROM retained WHERE first BETWEEN ? AND ?", (first, last)).get:
            return
        messages: list[Message] = []
        wanted: Counter[int] = Counter()
        try:
            for header in run:
                messages += self._codec.open(header, self._rows.payload(header)).messages
                wanted.update(self._codec.wanted(header))
        except Damaged:
            return  # its reader finds out
        new = NewChunk(messages, dict(wanted), run[0].only)
        header, payload = self._codec.store(first, messages, new, [message.received_at for message in messages])
        self._connection.execute("DELETE FROM chunks WHERE first BETWEEN ? AND ?", (first, last))
        self._connection.execute(INSERT, (*header, payload))


def _runs(headers: Iterable[Header]) -> Iterable[list[Header]]:
    """Chunks that can become one: small, adjacent, for the same sinks."""
    run: list[Header] = []
    messages = size = 0
    for header in headers:
        follows = run and header.first == run[-1].first + run[-1].messages and header.only == run[0].only
        fits = messages + header.messages <= MAX_MESSAGES and size + header.raw <= _MAX_BYTES
        if run and not (follows and fits and header.messages < SMALL):
            yield run
            run, messages, size = [], 0, 0
        if header.messages < SMALL:
            run.append(header)
            messages += header.messages
            size += header.raw
    if run:
        yield run
