"""Chunks of a damaged database found page by page, past its trees: a destroyed page costs what stood on it and nothing else.

The format of pages, cells and records: https://www.sqlite.org/fileformat2.html. Checksums of the chunks show what is right.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edgerouter.spool.log.chunk import MAX_MESSAGES, Codec, Damaged, Header
from edgerouter.spool.log.position import Position
from edgerouter.spool.sqlite.db.schema import PAGE

_LEAF: Final = 13
"""Type of a page that holds rows."""
_MOST_LOCAL: Final = PAGE - 35
_LEAST_LOCAL: Final = (PAGE - 12) * 32 // 255 - 23
_SPILL: Final = PAGE - 4
"""Bytes of a row on each of its overflow pages."""
_COLUMNS: Final = 10
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
"""Bytes of a stored integer by its type; types 8 and 9 are the numbers 0 and 1."""

Row = tuple[Any, ...]


class Pages:
    """The pages of a database as its last commit left them: in its log, or else in the file itself.

    Args:
        path: the database.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.count = path.stat().st_size // PAGE
        self._log: dict[int, bytes] = {}
        with suppress(OSError):
            self._read_log(path.with_name(path.name + "-wal").read_bytes())

    def __getitem__(self, number: int) -> bytes:
        """A page; empty where there is none."""
        logged = self._log.get(number)
        if logged is not None:
            return logged
        if not 0 < number <= self.count:
            return b""
        self._file.seek((number - 1) * PAGE)
        return self._file.read(PAGE)

    def free(self) -> set[int]:
        """The pages that hold nothing: what stands on them has been deleted."""
        free: set[int] = set()
        trunk = _number(self[1], 32)
        while trunk not in free and (page := self[trunk]):
            free.add(trunk)
            leaves = min(_number(page, 4), PAGE // 4 - 2)
            free.update(_number(page, 8 + 4 * n) for n in range(leaves))
            trunk = _number(page, 0)
        return free

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_log(self, log: bytes) -> None:
        salt = log[16:24]
        unfinished: dict[int, bytes] = {}
        for at in range(32, len(log) - PAGE - 23, 24 + PAGE):
            if log[at + 8 : at + 16] != salt:
                break
            unfinished[_number(log, at)] = log[at + 24 : at + 24 + PAGE]
            if _number(log, at + 4):
                # a commit
                self._log |= unfinished
                unfinished = {}
        self.count = max(self.count, *self._log, 0)


class RawChunks:
    """Finds the rows of chunks on all pages, then gives out those of a range of sequences.

    Args:
        path: the damaged database.
    """

    def __init__(self, path: Path) -> None:
        self._pages = Pages(path)
        self._free = self._pages.free()
        self._codec = Codec()
        self._next = 1
        # a million small chunks shall not take a hundred megabytes: numbers side by side instead of objects
        self._firsts = array("q")
        self._counts = array("q")
        self._places = array("q")
        self._order: list[int] | None = None
        self._damaged = Position()

    @property
    def scanned(self) -> bool:
        """True once all pages have been read."""
        return self._order is not None

    def scan(self, pages: int) -> None:
        """Look at some more pages."""
        end = min(self._next + pages, self._pages.count + 1)
        for number in range(self._next, end):
            if number not in self._free:
                self._look_at(number)
        self._next = end
        if end > self._pages.count:
            # of those that begin with the same message the longest first: small chunks may have been packed into it
            self._order = sorted(range(len(self._firsts)), key=lambda n: (self._firsts[n], -self._counts[n]))

    def rows(self, start: int, end: int) -> Iterator[Row]:
        """The chunks within a range of sequences whose checksum is right, without overlap, in order."""
        assert self._order is not None, "all pages have been looked at"
        order = self._order
        at = bisect_left(order, start, key=self._firsts.__getitem__)
        for n in order[at:]:
            if self._firsts[n] >= end:
                return
            above = self._firsts[n] + self._counts[n]
            if self._firsts[n] < start or not self._firsts[n] < above <= end:
                continue
            if row := self._row(self._places[n]):
                start = above
                yield row
            elif self._counts[n] <= MAX_MESSAGES:
                self._damaged.add(self._firsts[n], above)

    def damaged(self, start: int, end: int) -> Position:
        """The sequences of chunks that `rows` came by and whose checksum is wrong; others may hold them, too."""
        return Position(self._damaged.intersect(start, end))

    def close(self) -> None:
        """Close the file."""
        self._pages.close()

    def _look_at(self, number: int) -> None:
        page = self._pages[number]
        if not page or page[0] != _LEAF:
            return
        cells = int.from_bytes(page[3:5], "big")
        for n in range(min(cells, PAGE // 2 - 4)):
            at = int.from_bytes(page[8 + 2 * n : 10 + 2 * n], "big")
            with suppress(IndexError):  # not a row
                _, at = _varint(page, at)
                first, at = _varint(page, at)
                types, values = _types(page, at)
                if _is_chunk(types):
                    self._firsts.append(first)
                    self._counts.append(_integer(page, values, types[1]))
                    self._places.append(number * PAGE + int.from_bytes(page[8 + 2 * n : 10 + 2 * n], "big"))

    def _row(self, place: int) -> Row | None:
        """The row that stands in a cell; `None` when it is not what was written."""
        number, at = divmod(place, PAGE)
        page = self._pages[number]
        size, at = _varint(page, at)
        first, at = _varint(page, at)
        local = size
        if size > _MOST_LOCAL:
            local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % _SPILL
            local = local if local <= _MOST_LOCAL else _LEAST_LOCAL
        record = bytearray(page[at : at + local])
        further = _number(page, at + local) if local < size else 0
        while len(record) < size and (page := self._pages[further]):
            record += page[4 : 4 + size - len(record)]
            further = _number(page, 0)
        row = (first, *_values(bytes(record)))
        try:
            return row if self._codec.is_sound(Header(*row[:9]), row[9]) else None
        except Damaged:
            return None


def _is_chunk(types: list[int]) -> bool:
    """Return True if columns of these types are those of the table of chunks; its key stands before the record."""
    if len(types) != _COLUMNS or types[0] != 0:
        return False
    blobs = (types[5], types[7], types[9])
    return all(n in _INTEGERS for n in (*types[1:5], types[6], types[8])) and all(n >= 12 and n % 2 == 0 for n in blobs)


def _types(record: bytes, at: int) -> tuple[list[int], int]:
    """The types of a record's columns, and where their values begin."""
    size, here = _varint(record, at)
    end = at + size
    types: list[int] = []
    while here < end and len(types) <= _COLUMNS:
        kind, here = _varint(record, here)
        types.append(kind)
    return types, end


def _values(record: bytes) -> list[Any]:
    """The values of a chunk's columns but the first."""
    types, at = _types(record, 0)
    values: list[Any] = []
    for kind in types[1:]:
        if kind in _INTEGERS:
            values.append(_integer(record, at, kind))
            at += _INTEGERS[kind]
        else:
            size = (kind - 12) // 2
            values.append(record[at : at + size])
            at += size
    return values


def _integer(record: bytes, at: int, kind: int) -> int:
    return kind - 8 if kind >= 8 else int.from_bytes(record[at : at + _INTEGERS[kind]], "big", signed=True)


def _number(page: bytes, at: int) -> int:
    return int.from_bytes(page[at : at + 4], "big")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends.

    Raises:
        IndexError: it does not end within the data.
    """
    value = 0
    for n in range(at, at + 8):
        value = value << 7 | data[n] & 0x7F
        if data[n] < 0x80:
            return value, n + 1
    return value << 8 | data[at + 8], at + 9
