"""Describes the device below a file system: SD card, eMMC, disk, and its wear."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerouter.doctor.machine import wear
from edgerouter.doctor.machine.wear import Wear, text

_SYS: Final = Path("/sys")


@dataclass(frozen=True, slots=True)
class Device:
    """A block device."""

    text: str
    wear: Wear
    rotates: bool = False


def describe(number: int, sys: Path = _SYS) -> Device | None:
    """Return the device of a file system, if it is a block device.

    Args:
        number: `st_dev` of a file on it.
        sys: mount point of the kernel's view of devices.
    """
    try:
        path = (sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    disk = path if (path / "queue").is_dir() else path.parent
    kind, model = text(disk / "device" / "type"), text(disk / "device" / "model") or text(disk / "device" / "name")
    rotates = False
    if kind == "SD":
        word = "an SD card, which wears out"
    elif kind == "MMC":
        word = "eMMC"
    elif text(disk / "queue" / "rotational") == "1":
        word, rotates = "a rotating or virtual disk", True
    else:
        word = "flash, or a virtual disk"
    return Device(f"{disk.name}{f' ({model})' if model else ''}: {word}", wear.read(disk), rotates)
