"""The process whose limits count: that of the running router, else this one."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerouter.admin.listen import unix_connection

_PROC: Final = Path("/proc")
_CREDENTIALS: Final = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Measured:
    """A process, by its folder below `/proc`."""

    name: str
    folder: Path
    is_router: bool = False

    def read(self, name: str) -> str:
        """Return a file of the process; empty where it cannot be read."""
        with suppress(OSError):
            return (self.folder / name).read_bytes()[: 64 * 1024].decode(errors="replace")
        return ""


def measured(spool: Path | None, proc: Path = _PROC) -> Measured:
    """Return the router that runs on a spool folder, if one does; else this process."""
    if spool is not None and (number := _router(spool)) and (proc / str(number)).is_dir():
        return Measured(f"the running router (process {number})", proc / str(number), is_router=True)
    return Measured("this process, as no router runs", proc / str(os.getpid()))


def _router(spool: Path) -> int | None:
    """Return the number of the process that listens on a spool's socket; it notices a connection without a request."""
    with suppress(OSError), closing(unix_connection(spool)) as connection:
        number, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return int(number)
    return None
