"""Status and verification of a stopped router's spool, on a copy: opening a spool repairs it, and holds up a router that starts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from edgerouter.admin import status
from edgerouter.config.model import SpoolConfig
from edgerouter.errors import EdgerouterError
from edgerouter.plugins import open_spool

MOST_BYTES: Final = 256 * 1024**2
"""Bytes of a spool that is copied; a larger one is left to `edgerouter verify`."""
_SECONDS: Final = 120.0


class NotCopied(EdgerouterError):
    """The spool cannot be copied; the text gives the reason."""


async def look(spool: SpoolConfig, most: int = MOST_BYTES) -> dict[str, Any]:
    """Return the status, and the verification, of a copy.

    Raises:
        EdgerouterError: there is no spool, or it cannot be copied or opened.
    """
    with tempfile.TemporaryDirectory(prefix="edgerouter-bundle-") as folder:
        copy = Path(folder, "spool")
        await asyncio.to_thread(_copied, spool.path, copy, most)
        async with asyncio.timeout(_SECONDS), open_spool(spool.model_copy(update={"path": copy}), "bundle", command=True) as opened:
            return {
                "status": msgspec.to_builtins(status.stopped_status(opened)),
                "verification": msgspec.to_builtins(await opened.tools.verify()),
            }


def _copied(folder: Path, copy: Path, most: int) -> None:
    before = _sizes(folder)
    if not before:
        raise NotCopied(f"there is no spool in {folder}")
    total = sum(size for size, _ in before.values())
    if total > most:
        raise NotCopied(f"the spool has {total} bytes, more than are copied; run `edgerouter verify`")
    if shutil.disk_usage(copy.parent).free < 2 * total + most // 16:
        raise NotCopied(f"there is no room for a copy of {total} bytes in {copy.parent.parent}; run `edgerouter verify`")
    copy.mkdir(mode=0o700)
    try:
        for name in before:
            shutil.copyfile(folder / name, copy / name, follow_symlinks=False)
    except OSError as error:
        raise NotCopied(f"{folder}: {error.strerror}") from None
    if _sizes(folder) != before:
        raise NotCopied("the spool changed while it was copied: a router has started")


def _sizes(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Return size and time of change of each regular file."""
    try:
        found = {each.name: each.lstat() for each in folder.iterdir() if each.is_file() and not each.is_symlink()}
    except OSError as error:
        raise NotCopied(f"{folder}: {error.strerror}") from None
    return {name: (each.st_size, each.st_mtime_ns) for name, each in found.items()}
