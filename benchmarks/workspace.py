"""Temporary folders of measurements, below a folder that the user chooses because its disk is part of what is measured."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Yield a new folder below the given one, and remove it at the end."""
    path = Path(tempfile.mkdtemp(prefix="edgerouter-bench-", dir=folder))
    try:
        yield path
    finally:
        # a process that has just been ended may still be writing
        shutil.rmtree(path, ignore_errors=True)
