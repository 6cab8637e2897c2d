"""Dead letters in the database: store, find, and take out again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec
import structlog

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection
from edgerouter.spool.operator import DeadLetter, DeadLetterFilter
from edgerouter.topics import Matcher

_COLUMNS: Final = "id, sink, topic, reason, error, attempts, first_attempt, last_attempt, config_digest, bytes, message"
_BOOKKEEPING: Final = 100
_SCAN: Final = 5000

log = structlog.get_logger("edgerouter.spool")
Row = tuple[Any, ...]
Place = tuple[int, str, str, int]
"""Number, sink, topic and bytes of a dead letter."""


def rows_of(sink: str, rejections: Iterable[Rejection]) -> list[Row]:
    """Encode dead letters as they are stored, without their numbers."""
    now = time.time_ns()
    rows = []
    for rejection in rejections:
        message = msgspec.msgpack.encode(rejection.message)
        size = len(message) + len(rejection.reason) + len(rejection.message.topic) + _BOOKKEEPING
        rows.append((
            sink,
            rejection.message.topic,
            rejection.message.received_at,
            rejection.reason,
            rejection.error,
            rejection.attempts,
            rejection.first_attempt,
            now,
            rejection.config_digest,
            size,
            message,
        ))  # fmt: skip
    return rows


def size_of(row: Row) -> int:
    """Bytes that a dead letter counts for."""
    size: int = row[-2]
    return size


def insert(connection: apsw.Connection, first: int, rows: Sequence[Row]) -> None:
    """Store dead letters, numbered from `first`."""
    numbered = [(number, *row) for number, row in enumerate(rows, first)]
    connection.executemany("INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", numbered)


def remove(connection: apsw.Connection, numbers: Iterable[int]) -> None:
    """Delete dead letters."""
    connection.executemany("DELETE FROM letters WHERE id = ?", [(number,) for number in numbers])


def usage(connection: apsw.Connection) -> tuple[Counter[str], int]:
    """Count the dead letters of each sink, and the bytes of all."""
    rows = _rows(connection, "SELECT sink, count(*), sum(bytes) FROM letters GROUP BY sink", ())
    return Counter({str(sink): count for sink, count, _ in rows}), sum(int(size) for _, _, size in rows)


def oldest(connection: apsw.Connection, size: int) -> list[Place]:
    """Return the oldest dead letters that together have at least this many bytes."""
    places: list[Place] = []
    found: Iterable[Row] = connection.execute("SELECT id, sink, topic, bytes FROM letters ORDER BY id")
    for number, sink, topic, each in found:
        if size <= 0:
            break
        size -= each
        places.append((number, sink, topic, each))
    return places


def find(connection: apsw.Connection, which: DeadLetterFilter, limit: int, after: int) -> list[DeadLetter]:
    """Return the first dead letters above a number that the filter lets through."""
    letters: list[DeadLetter] = []
    matches = Matcher([which.topic]) if which.topic is not None else None
    where, bindings = _where(which)
    # where comes from the names below, never from outside
    statement = f"SELECT {_COLUMNS} FROM letters WHERE id > ?{where} ORDER BY id LIMIT ?"  # noqa: S608
    while True:
        rows = _rows(connection, statement, (after, *bindings, _SCAN if matches else limit))
        for number, sink, topic, reason, error, attempts, first_attempt, last_attempt, digest, _, message in rows:
            after = number
            if matches is None or matches(topic):
                try:
                    content = msgspec.msgpack.decode(message, type=Message)
                except (msgspec.MsgspecError, TypeError) as broken:
                    log.warning("a dead letter is damaged; it can only be purged", number=number, reason=str(broken))
                    continue
                letters.append(DeadLetter(number, sink, content, reason, error, attempts, first_attempt, last_attempt, digest))
                if len(letters) == limit:
                    return letters
        if matches is None or len(rows) < _SCAN:
            return letters


def places(connection: apsw.Connection, which: DeadLetterFilter) -> list[Place]:
    """Locate all dead letters that the filter lets through."""
    matches = Matcher([which.topic]) if which.topic is not None else None
    where, bindings = _where(which)
    statement = f"SELECT id, sink, topic, bytes FROM letters WHERE id > ?{where} ORDER BY id"  # noqa: S608  (see above)
    rows = _rows(connection, statement, (0, *bindings))
    return [(number, sink, topic, size) for number, sink, topic, size in rows if matches is None or matches(topic)]


def _where(which: DeadLetterFilter) -> tuple[str, tuple[Any, ...]]:
    conditions: list[tuple[str, Any]] = []
    if which.sink is not None:
        conditions.append(("sink = ?", which.sink))
    if which.since is not None:
        conditions.append(("last_attempt >= ?", which.since))
    if which.until is not None:
        conditions.append(("last_attempt < ?", which.until))
    if which.reason is not None:
        conditions.append(("instr(lower(reason || ' ' || error), lower(?)) > 0", which.reason))
    if which.numbers:
        conditions.append(("id IN (SELECT value FROM json_each(?))", msgspec.json.encode(which.numbers).decode()))
    return "".join(f" AND {condition}" for condition, _ in conditions), tuple(value for _, value in conditions)


def _rows(connection: apsw.Connection, statement: str, bindings: tuple[Any, ...]) -> list[Row]:
    return connection.execute(statement, bindings).fetchall()
