"""Memory of this process: how much it may use, giving back what it uses no longer, and what garbage collection examines."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_M_ARENA_MAX: Final = -8
"""Parameter of glibc's `mallopt`."""


def give_back() -> None:
    """Return freed memory to the system, where the C library can: the imports and the configuration leave some megabytes of it."""
    import ctypes  # noqa: PLC0415  (used once)

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def share_one_arena() -> None:
    """Let threads that start later allocate from the arena that there is, where the C library is glibc.

    By default each gets its own, and returns to the system only pages that hold nothing: 3 MB with six cloud sinks, whose SDKs are
    imported in threads. `MALLOC_ARENA_MAX` and `GLIBC_TUNABLES` of the environment take precedence.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    import ctypes  # noqa: PLC0415  (3 ms that a start without SDKs does without)

    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):  # others give the number another meaning
        library.mallopt(_M_ARENA_MAX, 1)


def exempt_from_collection() -> None:
    """Take every object that exists now out of the garbage collector's sight, and enable collection.

    A full collection examines every object and stops the event loop meanwhile. Nearly all are modules, classes and functions, which
    never become garbage: with a few plugins imported it took 70 to 120 ms, and without them less than one. Reference counting
    frees what is exempt as before; only cycles among these objects would stay. `cli.start` suspends collection for the imports.
    """
    gc.freeze()
    gc.enable()


def usable_memory(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the bytes of memory that the process may use: those of the machine, or a lower limit. Reads a few small files.

    Args:
        cgroups: mount point of the control groups.
        membership: file that names the process's control groups, as `/proc/self/cgroup` does.
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits_of_groups(cgroups, membership)]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            found.append(soft)
    return min(found)


def _limits_of_groups(cgroups: Path, membership: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in membership.read_text(encoding="utf-8", errors="replace").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            if not controllers:
                yield from _limits(cgroups, group, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _limits(cgroups / "memory", group, "memory.limit_in_bytes")


def _limits(root: Path, group: str, name: str) -> Iterator[int]:
    """Yield the limits of a group and of its parents: all of them apply."""
    path = PurePosixPath(group.lstrip("/"))
    # in a container the group's path may be that of the host, while the files are at the root of the mount
    for each in (path, *path.parents):
        if ".." in each.parts:
            continue
        with suppress(OSError, ValueError):
            limit = int((root / each / name).read_text(encoding="ascii"))  # "max" does not parse: no limit
            if limit > 0:
                yield limit
