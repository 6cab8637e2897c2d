"""What is done with the database, in its thread: write a transaction, read chunks, trim."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import apsw
import msgspec

from edgerouter.config.model import RetainPolicy
from edgerouter.message import Message
from edgerouter.spool import sqlite_letters
from edgerouter.spool.account import seal, unseal
from edgerouter.spool.chunk import MAX_MESSAGES, Chunk, Codec, Damaged, Header, NewChunk, Receipt, count_wanted, new_id
from edgerouter.spool.position import OPEN
from edgerouter.spool.reader import Loaded
from edgerouter.spool.sqlite_file import PAGE
from edgerouter.spool.sqlite_letters import Letters, Place

COLUMNS: Final = "first, count, raw, received, span, wanted, only, receipts, checksum"
_ROWS_FROM: Final = f"""
SELECT {COLUMNS} FROM chunks
WHERE first >= coalesce((SELECT max(first) FROM chunks WHERE first <= ?1), ?1) AND first < ?2 ORDER BY first LIMIT ?3
"""  # noqa: S608  (a constant)
_LOAD_MESSAGES: Final = 1000
_LOAD_BYTES: Final = 1024 * 1024
_LOAD_ROWS: Final = 256
_SCAN_ROWS: Final = 20_000
TRIM_ROWS: Final = 2000
"""Most chunks that one transaction trims, so that none takes long."""


class SpoolRecord(msgspec.Struct, array_like=True):
    """What is stored about the spool itself."""

    id: str
    next: int = 1
    """The sequence of the next message."""
    next_key: int = 1
    """The key of the next new sink."""
    messages: int = 0
    """Messages in chunks."""
    letter: int = 1
    """The number of the next dead letter."""
    acknowledged: int = 1
    """Below this sequence all deliveries were acknowledged before the transaction that stored this record."""


@dataclass(slots=True, frozen=True)
class Need:
    """What one sink still needs around some sequences."""

    key: int
    since: int
    ranges: Sequence[tuple[int, int]]


@dataclass(slots=True, frozen=True)
class Trim:
    """Sequences that some sink has settled, and the sinks that have not settled everything around them."""

    start: int
    end: int
    needs: Sequence[Need]

    def needed(self, first: int, end: int, wanted: dict[int, int], only: int) -> bool:
        """Whether any sink needs this chunk."""
        return any(
            any(a < end and first < b for a, b in need.ranges) and count_wanted(first, wanted, only, need.key, need.since) != 0
            for need in self.needs
        )


@dataclass(slots=True)
class Transaction:
    """Everything that is to be written at once."""

    chunks: list[NewChunk] = field(default_factory=list)
    put: dict[str, bytes] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    trims: list[Trim] = field(default_factory=list)
    letters: list[Letters] = field(default_factory=list)
    replayed: list[Place] = field(default_factory=list)
    """Dead letters that are deleted because their messages are in `chunks`."""
    thrown_away: list[Place] = field(default_factory=list)
    """Other dead letters that are deleted."""
    also: list[Callable[[Store], None]] = field(default_factory=list)
    release: int = 0
    """Bytes of retained chunks to give up."""
    acknowledged: int = 1
    """All deliveries below this sequence are acknowledged."""


@dataclass(slots=True, frozen=True)
class Opened:
    """What was found in the database."""

    values: dict[str, bytes]
    """The accounts and other small values by name."""
    used: int
    """Bytes of the database in use."""
    free: int
    """Bytes of the database file that are free for reuse."""
    first: int
    """Lowest sequence stored; the next one when there is none."""
    next: int
    messages: int
    retained: int
    letters: tuple[int, int]
    """Number and bytes of dead letters."""
    quarantined: tuple[int, int]
    """Number of damaged chunks put aside, and of messages in them."""
    unacknowledged: list[tuple[str, list[Message], bytes]]
    """Source, messages and receipt of deliveries of the last transaction."""


@dataclass(slots=True)
class Written:
    """What came of a transaction."""

    chunks: list[Chunk]
    stored: int
    """Bytes of the chunks written."""
    leftover: list[tuple[int, int]]
    """What there was no time to trim."""
    used: int
    """Bytes of the database in use."""
    free: int
    """Bytes of the database file that are free for reuse."""
    first: int
    """Lowest sequence stored; the next one when there is none."""
    messages: int
    """Messages stored."""
    retained: int
    """Bytes of chunks that are kept only for replay."""
    held: bool
    """Nothing was trimmed, and shall be another time."""


class Store:
    """The open database."""

    def __init__(self, connection: apsw.Connection, retain: RetainPolicy) -> None:
        self.connection = connection
        self.codec = Codec()
        self.record = SpoolRecord("")
        self._retain = retain
        self._retained_bytes = 0
        self.held = False
        """Nothing is trimmed for now, because somebody looks for messages to replay."""

    def open(self) -> Opened:
        """Read everything but the messages; sets `record`."""
        state = {str(name): bytes(value) for name, value in self.connection.execute("SELECT name, value FROM state")}
        self.record = self._read_record(state.pop("spool", None))
        self._retained_bytes = self.connection.execute("SELECT coalesce(sum(bytes), 0) FROM retained").get
        return Opened(
            state,
            *self.usage(),
            self.first(),
            self.record.next,
            self.record.messages,
            self._retained_bytes,
            sqlite_letters.usage(self.connection),
            self.connection.execute("SELECT count(*), coalesce(sum(count), 0) FROM quarantine").get,
            self._unacknowledged(),
        )

    def _read_record(self, value: bytes | None) -> SpoolRecord:
        if value is not None:
            try:
                return msgspec.msgpack.decode(unseal(value), type=SpoolRecord)
            except ValueError:
                pass  # a new id below: then it does not matter which sequences the old one had used
        messages, end = self.connection.execute("SELECT coalesce(sum(count), 0), coalesce(max(first + count), 1) FROM chunks").get
        letter = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM letters").get
        next_key = 1 if value is None else secrets.randbelow(1 << 20) + (1 << 20)
        return SpoolRecord(new_id(), end, next_key, messages, letter, end)

    def close(self) -> None:
        """Close the database; its log is folded in and removed."""
        self.connection.close()

    # -- writing ----------------------------------------------------------------------------------------------------------------

    def write(self, transaction: Transaction) -> Written:
        """Do all of it or, when this raises, none of it."""
        connection = self.connection
        before = msgspec.structs.replace(self.record)
        retained = self._retained_bytes
        connection.execute("BEGIN IMMEDIATE")
        try:
            chunks, stored = self._insert(transaction.chunks)
            for name in transaction.delete:
                connection.execute("DELETE FROM state WHERE name = ?", (name,))
            for call in transaction.also:
                call(self)
            for letters in transaction.letters:
                sqlite_letters.insert(connection, self.record.letter, letters.rows)
                self.record.letter += len(letters.rows)
            if transaction.replayed or transaction.thrown_away:
                sqlite_letters.remove(connection, (place[0] for place in transaction.replayed + transaction.thrown_away))
            leftover = [] if self.held else self._trim(transaction.trims)
            if self._retained_bytes and not self.held:
                self._trim_retained(transaction.release)
            self.record.acknowledged = transaction.acknowledged
            put = [*transaction.put.items(), ("spool", seal(msgspec.msgpack.encode(self.record)))]
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", put)
            connection.execute("COMMIT")
        except BaseException:
            self.record = before
            self._retained_bytes = retained
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return Written(chunks, stored, leftover, *self.usage(), self.first(), self.record.messages, self._retained_bytes, self.held)

    def usage(self) -> tuple[int, int]:
        """Bytes of the database in use, and free for reuse."""
        free: int = self.connection.execute("PRAGMA freelist_count").get
        return (self.connection.execute("PRAGMA page_count").get - free) * PAGE, free * PAGE

    def first(self) -> int:
        """Lowest sequence stored; the next one when there is none."""
        first: int = self.connection.execute("SELECT coalesce((SELECT min(first) FROM chunks), ?)", (self.record.next,)).get
        return first

    def _insert(self, new: Iterable[NewChunk]) -> tuple[list[Chunk], int]:
        record = self.record
        chunks = []
        stored = 0
        for each in new:
            header, payload, chunk = self.codec.seal(each, record.id, record.next)
            self.connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*header, payload))
            record.next = chunk.end
            record.messages += header.messages
            stored += len(payload)
            chunks.append(chunk)
        return chunks, stored

    def _trim(self, trims: Iterable[Trim]) -> list[tuple[int, int]]:
        """Delete, or put among the retained, what no sink needs; returns what is left to look at."""
        left = TRIM_ROWS
        leftover = []
        for trim in trims:
            if left <= 0:
                leftover.append((trim.start, trim.end))
                continue
            run: list[tuple[int, int]] = []  # chunks that stand beside each other: first sequence, count
            looked = 0
            end = trim.start
            for header in self.headers(trim.start, trim.end, left):
                looked += 1
                end = header.first + header.messages
                if end <= trim.start:
                    continue  # the row before a hole: nobody has said what is needed there
                if self._needed(trim, header):
                    self._let_go(run)
                    run = []
                else:
                    run.append((header.first, header.messages))
            self._let_go(run)
            if looked == left and end < trim.end:
                leftover.append((end, trim.end))
            left -= looked
        return leftover

    def _needed(self, trim: Trim, header: Header) -> bool:
        if not trim.needs:
            return False
        try:
            wanted = self.codec.wanted(header)
        except Damaged:
            return True  # whoever reads it finds out
        return trim.needed(header.first, header.first + header.messages, wanted, header.only)

    def _let_go(self, run: list[tuple[int, int]]) -> None:
        if not run:
            return
        first, last = run[0][0], run[-1][0]
        if self._retain.age or self._retain.bytes:
            added = self._rows(
                "INSERT OR IGNORE INTO retained SELECT first, length(payload) + 64, ? FROM chunks WHERE first BETWEEN ? AND ? "
                "RETURNING bytes",
                (int(time.time()), first, last),
            )
            self._retained_bytes += sum(size for (size,) in added)
            return
        self.delete("first BETWEEN ? AND ?", (first, last))

    def hold(self, held: bool) -> None:
        """Trim nothing until this is taken back."""
        self.held = held

    def use_again(self, first: int) -> None:
        """A chunk is wanted again: it is not kept only for replay any more."""
        rows = self._rows("DELETE FROM retained WHERE first = ? RETURNING bytes", (first,))
        self._retained_bytes -= sum(size for (size,) in rows)

    def delete(self, where: str, bindings: tuple[Any, ...]) -> None:
        """Delete chunks within a transaction."""
        deleted = self._rows(f"DELETE FROM chunks WHERE {where} RETURNING count", bindings)  # noqa: S608  (written here)
        self.record.messages -= sum(count for (count,) in deleted)

    def _trim_retained(self, release: int) -> None:
        """Delete what has been retained for long enough, or is too much, or has to make room."""
        oldest = time.time() - self._retain.age
        statement = "SELECT first, bytes, settled FROM retained ORDER BY first LIMIT ?"
        for first, size, settled in self._rows(statement, (TRIM_ROWS,)):
            too_old = self._retain.age and settled < oldest
            too_much = self._retain.bytes and self._retained_bytes > self._retain.bytes
            if not too_old and not too_much and release <= 0:
                return
            release -= size
            self.delete("first = ?", (first,))
            self.connection.execute("DELETE FROM retained WHERE first = ?", (first,))
            self._retained_bytes -= size

    # -- reading ----------------------------------------------------------------------------------------------------------------

    def load(self, ranges: Sequence[tuple[int, int]], key: int, since: int) -> tuple[Loaded, list[Header]]:
        """The first chunks of these ranges of which the sink may want something, and the headers of those that are damaged."""
        loaded = Loaded()
        damaged: list[Header] = []
        messages = size = rows = 0
        for start, end in ranges:
            at = start
            while at < end:
                if messages >= _LOAD_MESSAGES or size >= _LOAD_BYTES or rows >= _SCAN_ROWS:
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
                    if messages >= _LOAD_MESSAGES or size >= _LOAD_BYTES:
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
            return count_wanted(header.first, self.codec.wanted(header), header.only, key, since) != 0
        except Damaged:
            return True

    def _open(self, headers: Sequence[Header], loaded: Loaded, damaged: list[Header]) -> None:
        for header in headers:
            try:
                loaded.chunks.append(self.codec.open(header, self.payload(header)))
            except Damaged:
                damaged.append(header)

    def _unacknowledged(self) -> list[tuple[str, list[Message], bytes]]:
        deliveries = []
        messages: list[Message] = []
        receipts: list[Receipt] = []
        for header in self.headers(self.record.acknowledged, self.record.next, -1):
            try:
                chunk = self.codec.open(header, self.payload(header))
            except Damaged:
                continue  # whoever reads it finds out
            messages += chunk.messages
            receipts += self.codec.receipts(header)
        for receipt in receipts:
            end = receipt.first + receipt.count
            mine = [message for message in messages if receipt.first <= message.sequence < end]
            deliveries.append((receipt.source, mine, receipt.receipt))
        return deliveries

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
                        chunk = self.codec.open(headers[0], self.payload(headers[0]))
                    except Damaged:
                        at = headers[0].first + max(1, headers[0].messages)
                        continue
                    at = max(at, chunk.first)
                found += chunk.messages[at - chunk.first : end - chunk.first]
                at = chunk.end
        return found

    def payload(self, header: Header) -> bytes:
        """The stored bytes of a chunk."""
        payload: bytes = self.connection.execute("SELECT payload FROM chunks WHERE first = ?", (header.first,)).get
        return payload

    def received_at(self, sequence: int) -> int | None:
        """When the messages of the chunk that holds the sequence, or of the next one, were received."""
        headers = self.headers(sequence, OPEN, 1)
        return headers[0].received if headers else None

    def headers(self, start: int, end: int, most: int) -> list[Header]:
        """The headers of the chunks from the one that holds `start`, or stands before it, to `end`."""
        return [Header(*row) for row in self._rows(_ROWS_FROM, (start, end, most))]

    def _rows(self, statement: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, bindings).fetchall()
