"""The end of the router's log: from a file, from the file behind its standard error, or from systemd's journal."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Final

from edgerouter.bundle.archive import Part
from edgerouter.doctor.machine.process import Measured

NAME: Final = "log.txt"
_LINES: Final = 5000
_MOST_BYTES: Final = 1024**2
_SECONDS: Final = 20.0
_UNIT: Final = re.compile(r"/([\w@.:\\-]+\.service)$", re.MULTILINE)
_USUAL_UNIT: Final = "edgerouter.service"


def collect(file: Path | None, router: Measured | None) -> Part:
    """Return the end of the log.

    Args:
        file: the log, if the user has named it.
        router: the running router, if there is one.
    """
    if file is not None:
        return _tail(file)
    if router is not None and (standard_error := _standard_error(router)) is not None:
        return _tail(standard_error)
    unit = _UNIT.search(router.read("cgroup")) if router is not None else None
    return _journal(unit[1] if unit is not None else _USUAL_UNIT)


def _standard_error(router: Measured) -> Path | None:
    """Return the file that the router logs to, if it is a regular one."""
    path = router.folder / "fd" / "2"
    try:
        return path if stat.S_ISREG(path.stat().st_mode) else None
    except OSError:
        return None


def _tail(file: Path) -> Part:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            size = os.fstat(descriptor).st_size
            opened.seek(max(0, size - _MOST_BYTES))
            data = opened.read(_MOST_BYTES)
    except OSError as error:
        return Part(NAME, missing=f"{file}: {error.strerror or error}")
    # the first line may be half of one, with half of a secret in it
    return Part(NAME, (data if size <= _MOST_BYTES else data.partition(b"\n")[2]).decode(errors="replace"))


def _journal(unit: str) -> Part:
    program = shutil.which("journalctl")
    if program is None:
        return Part(
            NAME, missing="there is no journal here, and the router does not log to a file; if there is one, name it by --log FILE"
        )
    command = [program, f"--unit={unit}", "--lines", str(_LINES), "--no-pager", "--output", "short-iso-precise"]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603  (journalctl, with a unit of this machine)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Part(NAME, missing=f"journalctl: {type(error).__name__}")
    text = ended.stdout[-_MOST_BYTES:].decode(errors="replace")
    if ended.returncode or not text.strip() or text.startswith("-- No entries"):
        return Part(NAME, missing=f"the journal holds nothing of {unit} for this user; name a file by --log FILE")
    return Part(NAME, text)
