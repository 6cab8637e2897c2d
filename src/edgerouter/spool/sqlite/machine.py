"""Tie a spool to its machine, so that one that was copied with a disk image notices that it is a copy."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from edgerouter.private_files import read_private, replace_private

FILE: Final = "spool.machine"
SYSTEM: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""https://www.freedesktop.org/software/systemd/man/latest/machine-id.html"""
HARDWARE: Final = (Path("/proc/device-tree/serial-number"), Path("/sys/class/dmi/id/product_uuid"))
"""A board's serial number; a virtual machine's, which root alone may read."""
_ENOUGH: Final = 2

log = structlog.get_logger("edgerouter.spool")
Ties = dict[str, str]


def ties_of(folder: Path) -> Ties:
    """Return what is known of the machine and the folder, by kind."""
    ties = {"machine id": _first(SYSTEM), "hardware": _first(HARDWARE), "folder": ""}
    with suppress(OSError):
        ties["folder"] = str(folder.stat().st_ino)
    return {kind: value for kind, value in ties.items() if value}


def is_copy(folder: Path) -> bool:
    """Compare with what was true when the spool was used last.

    One difference has a harmless reason: a machine id that is made anew at each boot, a card that moves to another board, a folder
    that moves to another disk. Two at once are another machine.
    """
    try:
        before = json.loads(read_private(folder / FILE))
    except (OSError, ValueError):
        return False
    if not isinstance(before, dict):
        return False
    differ = sorted(kind for kind, value in ties_of(folder).items() if before.get(kind, value) != value)
    if len(differ) >= _ENOUGH:
        log.warning("this spool is a copy from another machine", differ=differ)
    return len(differ) >= _ENOUGH


def remember(folder: Path) -> None:
    """Keep the ties beside the spool. Where they cannot be written, a copy is not noticed."""
    content = json.dumps(ties_of(folder)).encode()
    with suppress(OSError):
        replace_private(folder / FILE, content)


def _first(files: tuple[Path, ...]) -> str:
    for file in files:
        with suppress(OSError):
            found = file.read_bytes().strip(b"\0 \n").decode("ascii", "replace")
            if found and found != "uninitialized":
                return found
    return ""
