"""Describes the device below a file system: SD card, eMMC, disk, and the wear that flash reports."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SYS: Final = Path("/sys")
WORN: Final = 80
"""Percent of its life, from which a device is worth a warning."""
_STEP: Final = 10
"""eMMC reports its wear in tenths (JESD84-B51, DEVICE_LIFE_TIME_EST)."""
_NEAR_ITS_END: Final = "0x02"


@dataclass(frozen=True, slots=True)
class Device:
    """A block device."""

    text: str
    worn_percent: int | None
    """Upper bound of its wear, where it reports one."""


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
    kind, model = _text(disk / "device" / "type"), _text(disk / "device" / "model") or _text(disk / "device" / "name")
    worn = _worn(disk)
    if kind == "SD":
        word = "an SD card, which wears out and reports no wear"
    elif kind == "MMC":
        word = "eMMC"
    elif _text(disk / "queue" / "rotational") == "1":
        word = "a rotating or virtual disk"
    else:
        word = "flash, or a virtual disk"
    if worn is not None:
        word += f", {worn} % of its life used at most"
    return Device(f"{disk.name}{f' ({model})' if model else ''}: {word}", worn)


def _worn(disk: Path) -> int | None:
    """Return the wear of eMMC in percent; the worse of its two kinds of memory."""
    worn = []
    for part in _text(disk / "device" / "life_time").split():
        with suppress(ValueError):
            worn.append(_STEP * int(part, 16))
    if _text(disk / "device" / "pre_eol_info") >= _NEAR_ITS_END:
        worn.append(WORN)
    return max(worn, default=None)


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_bytes()[:256].decode(errors="replace").strip()
    return ""
