"""A folder that the configuration names."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator

_LASTING = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""Errors that do not clear by themselves, unlike those of a full, read-only or missing disk."""


class _Marker:
    """Marks a field that names a folder."""


def _written(value: Any) -> Any:
    """Reject paths that are surely mistakes: an empty path would be the current folder, and `~` a folder of that name.

    Raises:
        ValueError: empty, not UTF-8, with a NUL, or with a `~` that cannot be expanded.
    """
    if isinstance(value, str | Path):
        value = str(value)
        if not value.strip():
            raise ValueError("is empty; write the path of a folder, `.` for the present one")
        if "\0" in value:
            raise ValueError("a path holds no NUL character")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("is not UTF-8, which file names here have to be")
        if value == "~" or value.startswith("~/"):
            raise ValueError("`~` is not expanded; write the whole path")
    return value


def _no_file(path: Path) -> Path:
    """Reject a path that exists and is not a folder.

    Raises:
        ValueError: the path names something else.
    """
    # os.path returns False for paths that it may not inspect, where Path.exists raises
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
        raise ValueError(f"{path} is not a folder")
    return path


FolderPath = Annotated[Path, BeforeValidator(_written), AfterValidator(_no_file), _Marker()]
"""A field that names a folder, which may not exist yet."""


class FolderFault(msgspec.Struct, frozen=True):
    """Reason why a folder cannot be created or written."""

    reason: str
    lasting: bool
    """Waiting does not help: the operator must change the path or the permissions."""


def folder_fault(folder: Path) -> FolderFault | None:
    """Try to write into a folder, or into the parent where it would be created; leaves nothing behind."""
    whole = folder.absolute()
    # where even looking is forbidden os.path returns False, and the check of the parent gives the reason
    existing = next(path for path in (whole, *whole.parents) if os.path.exists(path))  # noqa: PTH110
    if not existing.is_dir():
        return FolderFault(f"{existing} is not a folder", lasting=True)
    try:
        # permission bits do not reveal a read-only file system, and root ignores them, so try
        with tempfile.TemporaryDirectory(prefix=".edgerouter-check-", dir=existing):
            return None
    except OSError as error:
        verb = "written" if existing == whole else "made"
        reason = f"{folder} cannot be {verb}: {existing}: {error.strerror or error}"
        return FolderFault(reason, lasting=error.errno in _LASTING)


def folders_of(config: BaseModel) -> dict[str, Path]:
    """Return the folders that a plugin's configuration names, by field."""
    fields = type(config).model_fields
    return {name: getattr(config, name) for name in fields if any(isinstance(m, _Marker) for m in fields[name].metadata)}
