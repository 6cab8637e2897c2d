"""Search for the configuration file, and notice that a file has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from edgerouter.config.assembly import HERE, SYSTEM
from edgerouter.config.overlay import FILE_VARIABLE

Fingerprint = tuple[int, int, int, int]


def find_file(
    option: Path | None, environ: Mapping[str, str], *, here: bool = True, note: Callable[[str], None] | None = None
) -> Path | None:
    """Return the file to load: the option, `EDGEROUTER_CONFIG`, ./edgerouter.yaml, /etc/edgerouter/edgerouter.yaml, or none.

    A folder in which a command happens to be run may be another user's, whose file would choose the folder that root writes to.

    Args:
        option: `-c`.
        environ: the environment.
        here: the working folder's file counts, unless another user owns it or may change it.
        note: gets a line when the working folder's file is there and does not count.
    """
    if option is not None:
        return option
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    found = SYSTEM if SYSTEM.exists() else None
    if not os.path.lexists(HERE):
        return found
    reason = "only `run`, `check` and `config` look for it there" if not here else _distrust(HERE)
    if not reason:
        return HERE
    if note is not None:
        note(f"./{HERE} is not used: {reason}; using {found or 'the environment'}; `-c {HERE}` uses it")
    return found


def _distrust(path: Path) -> str:
    """Reason for ignoring a file that was not named; empty when it counts."""
    try:
        found = (path.lstat(), path.stat())
    except OSError as error:
        return error.strerror or type(error).__name__
    if any(each.st_uid not in (os.geteuid(), 0) for each in found):
        return "it belongs to another user"
    if found[1].st_mode & stat.S_IWOTH:
        return "all users may write it"
    return ""


def fingerprint(file: Path | None) -> Fingerprint | None:
    """Return a value that changes when the file changes; `None` while there is no file, as in the middle of a replacement."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
