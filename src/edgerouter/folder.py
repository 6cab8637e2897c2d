"""A folder that the configuration names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator


def _written(value: Any) -> Any:
    """An empty path would be the present folder, and `~` a folder of that name: nobody means that.

    Raises:
        ValueError: empty, with a NUL, or with a `~` that nobody expands.
    """
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("is empty; write the path of a folder, `.` for the present one")
        if "\0" in value:
            raise ValueError("a path holds no NUL character")
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


FolderPath = Annotated[Path, BeforeValidator(_written), AfterValidator(_no_file)]
"""A field that names a folder, which may be missing still."""
