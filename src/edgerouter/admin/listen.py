"""Listener of the control interface: a Unix socket in the spool's folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SOCKET_NAME = "control.sock"

_LONGEST_PATH = 100
"""The kernel takes 107 bytes; longer folders are reached through a descriptor of the folder."""


def unix_listener(folder: Path) -> socket.socket:
    """Return a listening socket in the folder, for its owner only. Replaces what a dead router left behind.

    The spool's lock makes sure that no living router listens there.
    """
    path = folder / SOCKET_NAME
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        with short_path(path) as address:
            listener.bind(address)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old)
    listener.listen(64)
    return listener


def unix_connection(folder: Path) -> socket.socket:
    """Return a socket connected to the router that runs on this folder.

    Raises:
        OSError: no router listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder / SOCKET_NAME) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield the path in a form that fits a Unix socket's address."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
