"""Boots an unpacked Debian: its systemd is process 1 of separate namespaces, in a separate control group.

It needs root, and no container engine.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Shell in the new namespaces: what an engine mounts for a container that runs systemd. What could change this machine is read-only.
_BOOT = r"""
set -e
root=$1
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/machine
pivot_root . run/machine
umount -l /run/machine
# as systemd itself does where it is not in a container: credentials are mounted by a child, and seen by propagation
mount --make-rshared /
exec env -i container=edgerouter PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=console systemd.unit=multi-user.target
"""
_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
    "HOME=/nonexistent",
)


@dataclass(frozen=True, slots=True)
class Debian:
    """A Debian that runs.

    Args:
        root: its root folder, seen from outside.
        init: process id of its systemd, seen from outside.
    """

    root: Path
    init: int

    def run(self, *command: str, user: str = "", code: int = 0, seconds: float = 240) -> str:
        """Run a command to its end and return its output; it must exit with this code."""
        switch = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        done = subprocess.run(
            ["nsenter", f"--target={self.init}", "--all", "env", "-i", *_ENVIRONMENT, *switch, *command],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, setting: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={setting}", unit).strip()

    def until(self, condition: Callable[[], bool], unit: str, seconds: float = 120) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it did not; the text is the end of the unit's journal.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self.run("journalctl", "--no-pager", "--lines=30", f"--unit={unit}"))
            time.sleep(0.05)

    def files(self, *without: str) -> set[str]:
        """Return all paths, except those below some folders."""
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))
        return {path for path in found if not path.startswith(without)}


def control_groups() -> Path | None:
    """Return where a control group of version 2 can be made."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        place = Path(mount.split()[4])
        if kind.startswith("cgroup2 ") and os.access(place / "cgroup.procs", os.W_OK):
            return place
    return None


@contextmanager
def booted(root: Path, groups: Path, log: Path) -> Iterator[Debian]:
    """Boot a Debian, and end all its processes afterwards."""
    group = groups / f"edgerouter-{os.getpid()}"
    group.mkdir()
    try:
        with log.open("wb") as output:
            enter = ["sh", "-ec", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
            spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
            process = subprocess.Popen(
                [*enter, *spaces, "sh", "-c", _BOOT, "boot", str(root)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield _ready(root, process, log)
        finally:
            process.kill()
            process.wait()
    finally:
        _remove(group)


def _ready(root: Path, process: subprocess.Popen[bytes], log: Path) -> Debian:
    """Wait until systemd has started everything."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        found = children.read_text().split()
        if found and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n":
            asked = ["nsenter", f"--target={found[0]}", "--all", "systemctl", "is-system-running", "--wait"]
            state = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
            if state in {"running", "degraded"}:
                return Debian(root, int(found[0]))
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _remove(group: Path) -> None:
    """Delete a tree of control groups; the kernel needs a moment after the last process."""
    deadline = time.monotonic() + 10
    while group.exists():
        try:
            for folder in sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True):
                folder.rmdir()
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
