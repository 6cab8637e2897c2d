"""Writes whole objects below one folder: each appears complete under its name or not at all, and never outside the folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path

from edgerouter.errors import Rejected, Unavailable
from edgerouter.message import Message
from edgerouter.objects import Compression, KeyTemplate, encode
from edgerouter.outcome import DELIVERED, Failure, Outcome
from edgerouter.sink import SinkContext
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.disk import open_new, sync_folder, unavailable, write_all

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEVER_TAKEN = {errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ}
"""The name is unusable: another object's folder or file occupies it, or the file system does not support such names."""


class ObjectWriter:
    """Writes batches as objects. Every call blocks and belongs in the sink's one thread."""

    def __init__(self, config: FileConfig, names: SinkContext) -> None:
        if config.key is None:
            raise ValueError("objects need a key")
        self._template = KeyTemplate.parse(config.key)
        self._names = names
        self._path = config.path
        self._framing = config.framing
        self._compression: Compression = config.compression or self._template.compression
        self._mode = config.mode
        self._folder_mode = folder_mode(config.mode)
        self._sync = config.fsync == "batch"
        self._root = open_folder(config.path, config.mode)

    def write(self, batch: Sequence[Message]) -> Outcome:
        """Write a batch as one object, or each of its messages as a separate one."""
        if self._framing != "payload":
            self._put(batch)
            return DELIVERED
        failures = []
        for index, message in enumerate(batch):
            try:
                self._put((message,))
            except Rejected as error:
                failures.append(Failure(index, error))
            except Unavailable as error:
                failures.append(Failure(index, error, may_have_arrived=True))
        return Outcome(failures)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._root)

    def _put(self, batch: Sequence[Message]) -> None:
        key = self._template.key_of(batch, self._names)
        data = encode(batch, self._framing, self._compression)
        try:
            self._write_whole(key, data)
        except OSError as error:
            if error.errno in _NEVER_TAKEN:
                raise Rejected(f"cannot write {self._path / key}: {error.strerror}") from error
            raise unavailable(error, "write", self._path / key) from error

    def _write_whole(self, key: str, data: bytes) -> None:
        *folders, name = key.split("/")
        with ExitStack() as opened:
            folder = self._root
            for part in folders:
                folder = self._enter(folder, part)
                opened.callback(os.close, folder)
            # the name is the same at each retry, so that a retry also clears what a crash left; no topic yields a part with "%n",
            # because escapes in a key have two upper-case hexadecimal digits after each "%"
            temporary = ".%new-" + sha256(name.encode()).hexdigest()[:32]
            try:
                fd = open_new(temporary, self._mode, folder)
                try:
                    os.fchmod(fd, self._mode)
                    write_all(fd, data)
                    if self._sync:
                        os.fsync(fd)
                finally:
                    os.close(fd)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):  # the first error is the informative one
                    os.unlink(temporary, dir_fd=folder)
                raise
            if self._sync:
                sync_folder(folder)

    def _enter(self, parent: int, part: str) -> int:
        """Open a folder, creating it if missing, without following a link out of the tree."""
        try:
            return os.open(part, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            with suppress(FileExistsError):  # another process has just created it
                os.mkdir(part, self._folder_mode, dir_fd=parent)
            if self._sync:
                sync_folder(parent)
            return os.open(part, _FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and stat.S_ISLNK(os.lstat(part, dir_fd=parent).st_mode):
                raise OSError(errno.ELOOP, f"{part} is a symbolic link, which the file sink does not follow") from error
            raise


def folder_mode(mode: int) -> int:
    """Return the permissions of a folder: users who may read its files may enter it, and the router always may."""
    return mode | (mode & 0o444) >> 2 | 0o700


def open_folder(path: Path, mode: int) -> int:
    """Open the sink's folder, creating it if missing.

    Raises:
        Unavailable: it cannot be created, is not a folder, or is not writable.
    """
    try:
        path.mkdir(folder_mode(mode), parents=True, exist_ok=True)
        _demand_writable(path)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unavailable(error, "write into the folder", path) from error


def _demand_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        # a read-only disk may be repaired, and is not a matter of permissions
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number))
