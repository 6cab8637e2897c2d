"""Runs programs in the root of a Debian without an init system: `chroot` in separate mount and process namespaces. Needs root."""

from __future__ import annotations

import ctypes
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_ENTER = 'root=$1; shift; mount -t proc proc "$root/proc"; exec chroot "$@"'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NO_NEW_PRIVILEGES, _DENY_WRITE_EXECUTE = 38, 65
"""Of prctl(2)."""


@dataclass(frozen=True, slots=True)
class Debian:
    """An unpacked Debian.

    Args:
        root: its root folder.
    """

    root: Path

    def command(self, *command: str, user: str = "") -> list[str]:
        """Return a command line that runs a command in it."""
        environment = [f"PATH={_PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/nonexistent"]
        chroot = [f"--userspec={user}:{user}", str(self.root)] if user else [str(self.root)]
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec", _ENTER, "enter", str(self.root)]
        return [*enter, *chroot, "/usr/bin/env", "-i", *environment, *command]

    def run(self, *command: str, user: str = "", code: int = 0, seconds: float = 240) -> str:
        """Run a command to its end and return its output; it must exit with this code."""
        done = subprocess.run(
            self.command(*command, user=user),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def files(self, *without: str) -> set[str]:
        """Return all paths, except those below some folders."""
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))
        return {path for path in found if not path.startswith(without)}

    def unit(self, name: str) -> dict[str, str]:
        """Return the settings of a unit, each with its last value."""
        lines = (self.root / "usr/lib/systemd/system" / name).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@dataclass(slots=True)
class Service:
    """A started unit, with the part of systemd that it talks to.

    Args:
        process: the process that waits for its end.
        manager: the socket of the service manager.
        log: its standard output and error.
    """

    process: subprocess.Popen[bytes]
    manager: socket.socket
    log: Path
    notified: list[str] = field(default_factory=list)

    def wait_for(self, assignment: str, seconds: float = 120) -> None:
        """Wait for an assignment such as `READY=1`.

        Raises:
            TimeoutError: it did not come.
        """
        self.manager.settimeout(seconds)
        while assignment not in self.notified:
            self.notified += self.manager.recv(65536).decode().splitlines()

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it did not.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            if time.monotonic() > deadline:
                raise TimeoutError(self.log.read_text()[-3000:])
            time.sleep(0.05)


@contextmanager
def service(debian: Debian, unit: str, log: Path) -> Iterator[Service]:
    """Start the program of a unit as its user, and stop it at the end.

    It gets no new privileges and no memory that is writable and executable, as the unit demands.
    """
    settings = debian.unit(unit)
    address = f"edgerouter-{time.monotonic_ns()}"
    command = debian.command(f"NOTIFY_SOCKET=@{address}", *shlex.split(settings["ExecStart"]), user=settings["User"])
    libc = ctypes.CDLL(None)

    def restrict() -> None:
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.prctl(_DENY_WRITE_EXECUTE, 1, 0, 0, 0)  # an older kernel does not know it

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, log.open("ab") as output:
        manager.bind("\0" + address)
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, preexec_fn=restrict)  # noqa: PLW1509  (one thread)
        try:
            yield Service(process, manager, log)
            child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            subprocess.run(["kill", "-TERM", str(child)], check=True)
            assert process.wait(60) == 0, log.read_text()[-3000:]
        finally:
            process.kill()
            process.wait()
