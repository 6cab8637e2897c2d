"""A disk that records every write, sync and truncation of SQLite, and computes the possible states after a power cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

SECTOR: Final = 512


@dataclass(slots=True, frozen=True)
class Call:
    """A change of a file: `data` was written at `at`, or without data the file was truncated at `at`."""

    file: str
    at: int
    data: bytes | None


@dataclass(slots=True, frozen=True)
class Sync:
    """Everything written to the file before is on disk."""

    file: str


@dataclass(slots=True, frozen=True)
class Gone:
    """A file was deleted."""

    file: str


@dataclass(slots=True)
class _Content:
    safe: bytes = b""
    calls: list[Call] = field(default_factory=list)
    """Changes since the last sync."""
    named: bool = False
    """True once the folder holds the name: the file has been synced once."""


class Disk:
    """Log of all changes in order; a test adds notes in between."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def note(self, what: Any) -> None:
        """Add a test's note, to find out whether it was before or after a cut."""
        self.log.append(what)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Route every database opened meanwhile through this disk."""
        before = apsw.vfs_names()[0]
        vfs = _Vfs(self, before)
        apsw.set_default_vfs(vfs.vfs_name)
        try:
            yield
        finally:
            apsw.set_default_vfs(before)
            vfs.unregister()

    def cuts(self, places: list[int], chance: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield files as a power cut after that many entries of the log may leave them.

        Args:
            places: numbers of entries, ascending.
            chance: decides, sector by sector, which unsynced writes have reached the disk.
        """
        files: dict[str, _Content] = {}
        at = 0
        for place in places:
            for entry in self.log[at:place]:
                _apply(files, entry)
            at = place
            style = chance.choice(["nothing", "everything", "in order", "any sector"])
            yield place, {name: left for name, content in files.items() if (left := _left(content, style, chance)) is not None}


def _apply(files: dict[str, _Content], entry: Any) -> None:
    match entry:
        case Call(file):
            files.setdefault(file, _Content()).calls.append(entry)
        case Sync(file):
            content = files.setdefault(file, _Content())
            whole = bytearray(content.safe)
            for call in content.calls:
                _do(whole, call)
            content.safe, content.calls, content.named = bytes(whole), [], True
            for other in files.values():  # a new file's first sync also syncs the folder
                other.named = True
        case Gone(file):
            files.pop(file, None)


def _do(content: bytearray, call: Call) -> None:
    if call.data is None:
        del content[call.at :]
        return
    content.extend(bytes(max(0, call.at + len(call.data) - len(content))))
    content[call.at : call.at + len(call.data)] = call.data


def _left(content: _Content, style: str, chance: random.Random) -> bytes | None:
    """Return the content after the cut; `None` if not even the name is left."""
    if not content.named and (style == "nothing" or chance.random() < 0.5):
        return None
    calls = content.calls
    if style == "nothing":
        calls = []
    elif style == "in order":
        calls = calls[: chance.randrange(len(calls) + 1)]
    whole = bytearray(content.safe)
    versions: dict[int, list[bytes]] = {}
    sizes = [len(whole)]
    for call in calls:
        before = {n: bytes(whole[n * SECTOR : (n + 1) * SECTOR]) for n in _sectors(call)}
        _do(whole, call)
        sizes.append(len(whole))
        for n, old in before.items():
            versions.setdefault(n, [old]).append(bytes(whole[n * SECTOR : (n + 1) * SECTOR]))
    if style != "any sector":
        return bytes(whole)
    for n, each in versions.items():
        part = chance.choice(each)
        whole[n * SECTOR : (n + 1) * SECTOR] = part.ljust(len(whole[n * SECTOR : (n + 1) * SECTOR]), b"\0")
    return bytes(whole[: chance.choice(sizes)]) if chance.random() < 0.5 else bytes(whole)


def _sectors(call: Call) -> range:
    return range(0) if call.data is None else range(call.at // SECTOR, (call.at + len(call.data) - 1) // SECTOR + 1)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, real: str) -> None:
        self.vfs_name = f"power-cut-{id(disk)}"
        self._disk = disk
        self._real = real
        super().__init__(self.vfs_name, real)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802  (SQLite's name)
        return _File(self._real, name, flags, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self._disk.note(Gone(Path(filename).name))


class _File(apsw.VFSFile):
    def __init__(self, real: str, name: Any, flags: list[int], disk: Disk) -> None:
        path = name if isinstance(name, str) or name is None else name.filename()
        self._name = Path(path).name if path else ""
        self._disk = disk
        super().__init__(real, name, flags)
        if self._name:
            disk.note(Call(self._name, 1 << 62, None))  # opened: the file exists, though perhaps only its name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._disk.note(Call(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._disk.note(Call(self._name, newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._disk.note(Sync(self._name))
