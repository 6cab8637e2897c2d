"""A folder that the configuration names."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator

_LASTING = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""Errors that do not pass by themselves, as those of a disk that is full, read-only or away do."""


class _Marker:
    """Says of a field that it names a folder."""


def _written(value: Any) -> Any:
    """An empty path would be the present folder, and `~` a folder of that name: nobody means that.

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
    """What is there and is no folder will not become one.

    Raises:
        ValueError: there is something else.
    """
    # os.path tells of nothing that it may not look at, where Path.exists raises
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
        raise ValueError(f"{path} is not a folder")
    return path


FolderPath = Annotated[Path, BeforeValidator(_written), AfterValidator(_no_file), _Marker()]
"""A field that names a folder, which may be missing still."""


@dataclass(frozen=True, slots=True)
class FolderFault:
    """Why a folder cannot be made or written."""

    reason: str
    lasting: bool
    """Waiting does not help: somebody has to change the path or the permissions."""


def folder_fault(folder: Path) -> FolderFault | None:
    """Try to write into a folder, or where it would be made; nothing is left behind."""
    whole = folder.absolute()
    existing = next(path for path in (whole, *whole.parents) if _exists(path))
    if not existing.is_dir():
        return FolderFault(f"{existing} is not a folder", lasting=True)
    try:
        # permission bits do not tell of read-only file systems or of root, so try; made and removed again
        with tempfile.TemporaryDirectory(prefix=".edgerouter-check-", dir=existing):
            return None
    except OSError as error:
        verb = "written" if existing == whole else "made"
        reason = f"{folder} cannot be {verb}: {existing}: {error.strerror or error}"
        return FolderFault(reason, lasting=error.errno in _LASTING)


def folders_of(config: BaseModel) -> dict[str, Path]:
    """The folders that a plugin's configuration names, by field."""
    fields = type(config).model_fields
    return {name: getattr(config, name) for name in fields if any(isinstance(m, _Marker) for m in fields[name].metadata)}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # not even looking is allowed there; its parent tells more
        return False
