"""Finds the file system that holds a folder, and knows the kinds that a spool should not be on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_MOST_BYTES: Final = 4 * 1024**2
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file system that deserves a remark."""

    reason: str
    change: str
    volatile: bool = False
    """Holds nothing over a restart of the machine."""


_NETWORK: Final = Kind("a network file system: locks and syncs depend on the server", "put the spool on a local disk")
_MEMORY: Final = Kind("memory: a power cut loses the whole spool", "put the spool on a disk", volatile=True)
KINDS: Final = {
    "tmpfs": _MEMORY,
    "ramfs": _MEMORY,
    "overlay": Kind("a container's own layer: it ends with the container", "mount a volume for the spool"),
    "aufs": Kind("a container's own layer: it ends with the container", "mount a volume for the spool"),
    "nfs": _NETWORK,
    "nfs4": _NETWORK,
    "cifs": _NETWORK,
    "smb3": _NETWORK,
    "9p": _NETWORK,
    "ceph": _NETWORK,
    "glusterfs": _NETWORK,
    "fuse": Kind("a file system in user space: its syncs may mean nothing", "put the spool on a local disk"),
    "vfat": Kind("without a journal: a power cut may damage it", "put the spool on ext4 or another file system with a journal"),
    "exfat": Kind("without a journal: a power cut may damage it", "put the spool on ext4 or another file system with a journal"),
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    place: str
    kind: str


def mount_of(folder: Path, mountinfo: Path = _MOUNTS) -> Mount | None:
    """Return the mount that holds a folder, the last one where several lie above each other.

    Args:
        folder: an existing folder.
        mountinfo: the kernel's list of mounts.
    """
    real = Path(os.path.realpath(folder))
    best: Mount | None = None
    try:
        with mountinfo.open("rb") as file:
            lines = file.read(_MOST_BYTES).decode(errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4])
        if real.is_relative_to(place) and (best is None or len(place) >= len(best.place)):
            best = Mount(place, kind)
    return best
