"""The memory limit of the process is found, including those of control groups; threads allocate from one arena."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgerouter.memory import usable_memory

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("membership", "files", "wanted"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "5000000"}, 5_000_000),
        ("0::/a/b", {"a/b/memory.max": "3000000", "a/memory.max": "5000000"}, 3_000_000),
        ("0::/of/the/host", {"memory.max": "4000000"}, 4_000_000),
        ("0::/../../outside", {"memory.max": "4000000"}, 4_000_000),
        ("7:cpu,memory:/a\n3:pids:/a", {"memory/a/memory.limit_in_bytes": "6000000"}, 6_000_000),
        ("7:memory:/docker/x", {"memory/memory.limit_in_bytes": "6000000"}, 6_000_000),
        ("7:memory:/a", {"memory/a/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("0::/a", {"a/memory.max": "nonsense"}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_a_control_group_s_limit_and_those_above_it_count(
    tmp_path: Path, membership: str, files: dict[str, str], wanted: int
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(content + "\n")
    assert usable_memory(tmp_path / "groups", tmp_path / "membership") == wanted


def test_without_control_groups_it_is_the_machine_s_memory_or_the_resource_limit(tmp_path: Path) -> None:
    assert 0 < usable_memory(tmp_path, tmp_path / "none") <= MACHINE
    limit = MACHINE // 2
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({limit}, {limit}));"
        "from edgerouter.memory import usable_memory; print(usable_memory())"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(printed.stdout) <= limit


def test_a_full_collection_examines_only_what_was_made_after_the_start() -> None:
    """Examining the modules of a few plugins would stop the event loop for a tenth of a second."""
    code = (
        "import gc, edgerouter.app; from edgerouter.memory import exempt_from_collection; gc.disable(); "
        "before = len(gc.get_objects()); exempt_from_collection(); made = [[] for _ in range(1000)];"
        "print(before, len(gc.get_objects()), gc.isenabled())"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    before, after = map(int, printed.split()[:2])
    assert printed.split()[2] == "True", "collection was suspended for the imports"
    assert before > 30_000
    assert 1000 < after < 2000


ALLOCATING = """
import ctypes, sys, threading
from edgerouter.memory import share_one_arena

if sys.argv[1:] == ["one"]:
    share_one_arena()
started = threading.Barrier(5)
held = []

def hold():
    started.wait()  # all at once: a thread that ends leaves its arena to the next
    held.append([bytearray(5000) for _ in range(100)])
    started.wait()

for _ in range(4):
    threading.Thread(target=hold, daemon=True).start()
started.wait()
started.wait()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library has no arenas")
@pytest.mark.parametrize(
    ("asked", "chosen", "one"), [("one", {}, True), ("none", {}, False), ("one", {"MALLOC_ARENA_MAX": "4"}, False)]
)
def test_threads_share_one_arena_once_asked_unless_the_operator_chose(asked: str, chosen: dict[str, str], one: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"}}
    command = [sys.executable, "-c", ALLOCATING, asked]
    done = subprocess.run(command, env=environment | chosen, capture_output=True, text=True, timeout=100, check=True)
    arenas = re.findall(r"^Arena \d+:$", done.stderr, re.MULTILINE)
    assert arenas
    assert (len(arenas) == 1) is one
