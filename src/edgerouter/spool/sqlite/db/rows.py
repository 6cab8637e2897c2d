"""Reading chunks out of the database, in its thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from edgerouter.message import Message
from edgerouter.spool.log.chunk import MAX_MESSAGES, Chunk, Codec, Damaged, Header, Receipt, count_wanted
from edgerouter.spool.log.position import OPEN
from edgerouter.spool.log.storage import Loaded

COLUMNS: Final = "first, count, raw, received, span, wanted, only, receipts, checksum"
_ROWS_FROM: Final = f"""
SELECT {COLUMNS} FROM chunks
WHERE first >= coalesce((SELECT max(first) FROM chunks WHERE first <= ?1), ?1) ORDER BY first LIMIT ?2
"""  # noqa: S608  (a constant)
_PLACES: Final = "chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT: Final = f"INSERT INTO {_PLACES}"
INSERT_NEW: Final = f"INSERT OR IGNORE INTO {_PLACES}"
"""Leaves a chunk that is there as it is."""
MISSING: Final = "INSERT OR IGNORE INTO quarantine VALUES (?, ?, 0, 0, 0, x'', 0, x'', 0, x'')"
"""Messages that were stored and are in no chunk any more, as if they were a damaged chunk."""
_KINDS: Final = (int, int, int, int, int, bytes, int, bytes)
LOAD_MESSAGES: Final = 1000
LOAD_BYTES: Final = 1024 * 1024
_LOAD_ROWS: Final = 256
_SCAN_ROWS: Final = 20_000


class Rows:
    """The table of chunks.

    Args:
        connection: of the database.
        codec: for what is stored.
        end: the sequence of the next message.
    """

    def __init__(self, connection: apsw.Connection, codec: Codec, end: Callable[[], int]) -> None:
        self._connection = connection
        self._codec = codec
        self._end = end

    def load(self, ranges: Sequence[tuple[int, int]], key: int, since: int) -> tuple[Loaded, list[Header]]:
        """The first chunks of these ranges of which the sink may want something, and the headers of those that are damaged."""
        loaded = Loaded()
        damaged: list[Header] = []
        messages = size = rows = 0
        for start, end in ranges:
            at = start
            while at < end:
                if messages >= LOAD_MESSAGES or size >= LOAD_BYTES or rows >= _SCAN_ROWS:
                    return loaded, damaged
                headers = self.headers(at, end, _LOAD_ROWS + 1)
                rows += len(headers)
                ends = self._ends(headers, end)
                if len(headers) > _LOAD_ROWS:
                    headers.pop()
                if not headers or ends[len(headers) - 1] <= at:
                    break
                wanted = []
                for header, above in zip(headers, ends, strict=False):
                    if messages >= LOAD_MESSAGES or size >= LOAD_BYTES:
                        break
                    if above <= at:
                        continue
                    at = above
                    if self._may_want(header, key, since):
                        messages += header.messages
                        size += header.raw
                        wanted.append(header)
                self._open(wanted, loaded, damaged)
                loaded.upto = at
            loaded.upto = end
        return loaded, damaged

    @staticmethod
    def _ends(headers: Sequence[Header], limit: int) -> list[int]:
        """One above each chunk's last sequence; a damaged count must not hide the chunks that follow."""
        following = [header.first for header in headers[1:]] + [max(limit, headers[-1].first + MAX_MESSAGES)] if headers else []
        return [min(header.first + max(header.messages, 1), after) for header, after in zip(headers, following, strict=True)]

    def _may_want(self, header: Header, key: int, since: int) -> bool:
        try:
            return count_wanted(header.first, self._codec.wanted(header), header.only, key, since) != 0
        except Damaged:
            return True

    def _open(self, headers: Sequence[Header], loaded: Loaded, damaged: list[Header]) -> None:
        for header in headers:
            try:
                loaded.chunks.append(self._codec.open(header, self.payload(header)))
            except Damaged:
                damaged.append(header)

    def with_receipts(self, start: int, end: int) -> list[tuple[str, list[Message], bytes]]:
        """Source, messages and receipt of the deliveries in this range that have one."""
        messages: list[Message] = []
        receipts: list[Receipt] = []
        for header in self.headers(start, end, -1):
            try:
                chunk = self._codec.open(header, self.payload(header))
            except Damaged:
                continue  # its reader finds out
            messages += chunk.messages
            receipts += self._codec.receipts(header)
        sequences = [message.sequence for message in messages]
        return [
            (r.source, messages[bisect_left(sequences, r.first) : bisect_left(sequences, r.first + r.count)], r.receipt)
            for r in receipts
        ]

    def messages(self, ranges: Sequence[tuple[int, int]]) -> list[Message]:
        """All readable messages with these sequences, in order."""
        found: list[Message] = []
        chunk: Chunk | None = None
        for start, end in ranges:
            at = start
            while at < end:
                if chunk is None or not chunk.first <= at < chunk.end:
                    headers = [header for header in self.headers(at, end, 2) if header.first + header.messages > at]
                    if not headers:
                        break
                    try:
                        chunk = self._codec.open(headers[0], self.payload(headers[0]))
                    except Damaged:
                        at = headers[0].first + max(1, headers[0].messages)
                        continue
                    at = max(at, chunk.first)
                found += chunk.messages[at - chunk.first : end - chunk.first]
                at = chunk.end
        return found

    def payload(self, header: Header) -> bytes:
        """The stored bytes of a chunk."""
        payload: bytes = self._connection.execute("SELECT payload FROM chunks WHERE first = ?", (header.first,)).get
        return payload

    def first(self, default: int) -> int:
        """Lowest sequence stored."""
        first: int | None = self._connection.execute("SELECT min(first) FROM chunks").get
        return default if first is None else first

    def received_at(self, sequence: int) -> int | None:
        """Return when the messages of the chunk that holds the sequence, or of the next one, were received."""
        headers = self.headers(sequence, OPEN, 1)
        return headers[0].received if headers else None

    def headers(self, start: int, end: int, most: int) -> list[Header]:
        """The headers of the chunks from the one that holds `start`, or stands before it, to `end`.

        Raises:
            apsw.CorruptError: the rows are not in order, so that a search may miss some.
        """
        # one more than can be there: a row is in its place only if the next one follows it
        limit = min(most, end - start + 1) + 1 if most >= 0 else -1
        rows: list[tuple[Any, ...]] = self._connection.execute(_ROWS_FROM, (start, limit)).fetchall()
        before = 0
        for row in rows:
            if not before < row[0] < self._end():
                raise apsw.CorruptError(f"the chunk {row[0]} is not in its place")
            before = row[0]
        if most >= 0:
            del rows[most:]
        return [_header(row) for row in rows if row[0] < end]


def _header(row: tuple[Any, ...]) -> Header:
    """A row as a header; if it cannot be one, as one whose checksum is wrong."""
    if all(map(isinstance, row, _KINDS)) and 1 <= row[1] <= MAX_MESSAGES:
        return Header(*row)
    count = row[1] if isinstance(row[1], int) and 1 <= row[1] <= MAX_MESSAGES else 1
    return Header(row[0], count, 0, 0, 0, b"", 0, b"", row[8])
