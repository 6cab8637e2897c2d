"""Removes from an installation what no program runs, and compiles the rest: `trim.py FOLDER [PLACE]`."""  # noqa: INP001  (a script)

from __future__ import annotations

import compileall
import csv
import io
import py_compile
import re
import shutil
import sys
from pathlib import Path

UNUSED = (
    # types, and sources of compiled modules: nothing is checked or built in an image
    *(f"**/*.{suffix}" for suffix in ("pyi", "pyx", "pxd", "pxi", "c", "h")),
    "*/tests",
    # 40 extensions and programs of SQLite beside the library itself, which is in apsw's module
    "apsw/sqlite_extra_binaries",
    # botocore writes its documentation from them
    "botocore/data/*/*/examples-1.json*",
    # for PyPy
    "zstandard/*cffi*",
    # for Windows
    "pip/_vendor/distlib/*.exe",
)
"""Patterns below site-packages."""
SELDOM = re.compile(r"/site-packages/(pip|pygments/(formatters|lexers|styles))/(?!__init__\.py|_mapping\.py)")
"""Modules that no start of the router imports; they work without their compiled files, which would take 9 MB."""


def remove(site: Path) -> None:
    """Delete what is unused, compiled files of seldom imported modules, and all but the newest version of each interface of AWS.

    botocore takes the newest one unless a client asks for another by `api_version`.
    """
    for pattern in UNUSED:
        for found in sorted(site.glob(pattern)):
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)
    for cache in sorted(site.rglob("__pycache__")):
        for file in cache.iterdir():
            if SELDOM.search(str(cache.parent / f"{file.name.partition('.')[0]}.py")):
                file.unlink()
    for service in site.glob("botocore/data/*/"):
        for superseded in sorted(version for version in service.iterdir() if version.is_dir())[:-1]:
            shutil.rmtree(superseded)


def correct(record: Path) -> None:
    """Take files that are gone out of a distribution's list, and sort it: each tool has its order."""
    rows = sorted(csv.reader(io.StringIO(record.read_text())))
    there = io.StringIO(newline="")
    csv.writer(there, lineterminator="\n").writerows(row for row in rows if (record.parent.parent / row[0]).exists())
    record.write_text(there.getvalue())


def compile_all(folder: Path, place: str) -> None:
    """Compile for a folder that will be at `place`.

    Nothing is checked against the time of its source, because a copy may round that, and each start on a root that cannot be
    written would compile again. Templates of some packages are not valid Python; they are left as they are.
    """
    compileall.compile_dir(
        folder, maxlevels=50, force=True, quiet=2, rx=SELDOM, workers=0, stripdir=str(folder), prependdir=place,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def main() -> None:
    """Trim every site-packages below the folder."""
    folder = Path(sys.argv[1]).resolve()
    for site in sorted(folder.rglob("site-packages")):
        remove(site)
        for record in sorted(site.glob("*.dist-info/RECORD")):
            correct(record)
    compile_all(folder, sys.argv[2] if len(sys.argv) > 2 else str(folder))


if __name__ == "__main__":
    main()
