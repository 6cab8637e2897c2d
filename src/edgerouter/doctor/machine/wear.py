"""Reads how worn a disk is: from the kernel for eMMC, from `smartctl` for others."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

WORN: Final = 80
"""Percent of its life, from which a device is worth a warning."""
_STEP: Final = 10
"""eMMC reports its wear in tenths (JESD84-B51, DEVICE_LIFE_TIME_EST)."""
_NEAR_ITS_END: Final = "0x02"
_SECONDS: Final = 8.0
_PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Folders of the program in Debian; not the caller's PATH, since root may run this."""
_LIFE_LEFT: Final = (231, 202, 233, 177)
"""SATA attributes whose normalised value falls from 100 to 0 with the life that is left, the clearest first."""


@dataclass(frozen=True, slots=True)
class Wear:
    """Wear of a disk."""

    percent: int | None
    """Upper bound of the life that is used; `None` where it is unknown."""
    reason: str = ""
    """Reason why it is unknown."""


def read(disk: Path, ask: Callable[[str], Wear] | None = None) -> Wear:
    """Return the wear of a disk.

    Args:
        disk: its folder in `/sys`.
        ask: returns the wear of a disk by its name; `smartctl` by default.
    """
    kind = text(disk / "device" / "type")
    if kind in ("MMC", "SD"):
        worn = max(_emmc(disk), default=None)
        return (
            Wear(worn)
            if worn is not None
            else Wear(None, "an SD card reports no wear" if kind == "SD" else "the eMMC reports none")
        )
    slaves = sorted((disk / "slaves").glob("*"))
    if slaves:
        found = [read(slave.resolve() if (slave / "queue").is_dir() else slave.resolve().parent, ask) for slave in slaves]
        known = [wear for wear in found if wear.percent is not None]
        return max(known, key=lambda wear: wear.percent or 0) if known else found[0]
    if disk.name.startswith(("vd", "xvd", "loop", "ram", "zram", "nbd")):
        return Wear(None, "a virtual disk reports no wear; look at the disk of its host")
    return (ask or _smart)(disk.name)


def text(file: Path) -> str:
    """Return the first bytes of a file of the kernel; empty where it cannot be read."""
    with suppress(OSError):
        return file.read_bytes()[:256].decode(errors="replace").strip()
    return ""


def _emmc(disk: Path) -> Iterator[int]:
    """Yield the wear of both kinds of memory in an eMMC."""
    for part in text(disk / "device" / "life_time").split():
        with suppress(ValueError):
            if used := int(part, 16):  # 0 = not defined
                yield min(100, _STEP * used)
    if text(disk / "device" / "pre_eol_info") >= _NEAR_ITS_END:
        yield WORN


def _smart(name: str) -> Wear:
    program = shutil.which("smartctl", path=_PLACES)
    if program is None:
        return Wear(None, "install `smartmontools` to have it read")
    try:
        done = subprocess.run(  # noqa: S603  (a fixed program on a disk that the kernel names)
            [program, "--json", "--all", f"/dev/{name}"], capture_output=True, timeout=_SECONDS, check=False
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return Wear(None, f"smartctl gives no answer: {type(error).__name__}")
    return of_smart(answer)


def of_smart(answer: Any) -> Wear:
    """Return the wear that an answer of `smartctl --json` holds."""
    if not isinstance(answer, dict):
        return Wear(None, "smartctl gives no answer")
    for outer, inner in (("endurance_used", "current_percent"), ("nvme_smart_health_information_log", "percentage_used")):
        used = _member(_member(answer, outer), inner)
        if isinstance(used, int):
            return Wear(min(100, max(0, used)))
    table = _member(_member(answer, "ata_smart_attributes"), "table")
    left = {_member(row, "id"): _member(row, "value") for row in table} if isinstance(table, list) else {}
    for attribute in _LIFE_LEFT:
        if isinstance(value := left.get(attribute), int):
            return Wear(min(100, max(0, 100 - value)))
    messages = _member(_member(answer, "smartctl"), "messages")
    said = _member(messages[0], "string") if isinstance(messages, list) and messages else None
    return Wear(None, f"smartctl: {said}" if isinstance(said, str) else "the disk reports none to smartctl")


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
