"""Runs an image like a container engine: unprivileged user, read-only root, separate PID namespace.

It needs root and util-linux, but no container engine.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# Shell in the new namespaces: mounts what an engine mounts, then gives up root permanently.
_ENTER = r"""
set -e
root=$1 volume=$2 place=$3 owner=$4 folder=$5
shift 5
mount --bind "$root" "$root"
cd "$root"
mount --bind "$volume" ".$place"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t tmpfs -o mode=755,size=64k,nosuid tmpfs dev
for device in null zero full random urandom; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
mount -o remount,bind,ro "$root" "$root"
mount -o remount,ro dev
exec setpriv --no-new-privs chroot --userspec "$owner" --groups= . \
    /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """Result of `buildah inspect --type image`, and the unpacked files."""

    root: Path
    config: Mapping[str, Any]
    history: str

    @classmethod
    def read(cls, inspected: Path, root: Path) -> Self:
        """Parse the output of `buildah inspect`."""
        docker = json.loads(inspected.read_text())["Docker"]
        return cls(root, docker["config"], json.dumps(docker["history"]))

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that the image sets."""
        return dict(item.split("=", 1) for item in self.config["Env"])


class Container:
    """One container of an image; created by `container`.

    Args:
        image: image to run.
        volume: folder for the image's volume, owned by the image's user.
        variables: variables in addition to the image's.
        log: file for standard output and error.
    """

    def __init__(self, image: Image, volume: Path, variables: Mapping[str, str], log: Path) -> None:
        self.image = image
        self.volume = volume
        self.log = log
        self._environment = {**image.environment, **variables}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        """Start the entry point with the image's command, or another one."""
        entered = [*self.image.config["Entrypoint"], *(command or self.image.config["Cmd"])]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", *self._shell(entered)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *command: str, entrypoint: Sequence[str] | None = None, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another command to completion in a container of the same image and volume."""
        entered = [*(self.image.config["Entrypoint"] if entrypoint is None else entrypoint), *command]
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", *self._shell(entered)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def healthy(self) -> subprocess.CompletedProcess[str]:
        """Run the image's health check beside the running process, as an engine does."""
        kind, line = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD-SHELL", kind
        owner, folder = self.image.config["User"], self.image.config["WorkingDir"]
        inside = ["chroot", "--userspec", owner, "--groups=", ".", "/bin/sh", "-c", f"cd {shlex.quote(folder)} && {line}"]
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", f"--wd=/proc/{self.pid}/root"]
        return subprocess.run([*enter, *inside], env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    @property
    def pid(self) -> int:
        """Number of the container's process 1, seen from outside."""
        assert self._process is not None, "not started"
        outside = self._process.pid
        children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        assert len(children) == 1, f"the container ended: {self.tail()}"
        return int(children[0])

    def status(self, field: str) -> str:
        """Return a line of the process's `/proc/<pid>/status`."""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return lines[field].strip()

    def wait_until_it_is(self, name: str, seconds: float = 20) -> None:
        """Wait until process 1 is this program instead of the shell that prepared its namespaces.

        Raises:
            TimeoutError: it took longer.
        """
        assert self._process is not None, "not started"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if children.read_text() and self.status("Name") == name:
                return
            time.sleep(0.002)
        raise TimeoutError(f"not {name} within {seconds} s: {self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to process 1."""
        os.kill(self.pid, number)

    def ended(self, seconds: float) -> int:
        """Wait for the end and return the exit code.

        Raises:
            TimeoutExpired: it is still running.
        """
        assert self._process is not None, "not started"
        return self._process.wait(seconds)

    @property
    def runs(self) -> bool:
        """True unless it has ended by itself."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def wait_for(self, file: Path, lines: int, seconds: float = 60) -> list[str]:
        """Wait until a file has that many whole lines, and return them.

        Raises:
            TimeoutError: it took longer.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = file.read_text() if file.exists() else ""
            if text.count("\n") >= lines:
                return text.splitlines()
            assert self.runs, f"the container ended: {self.tail()}"
            time.sleep(0.02)
        raise TimeoutError(f"{file} has not {lines} lines within {seconds} s: {self.tail()}")

    def tail(self, size: int = 3000) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def _shell(self, command: Sequence[str]) -> list[str]:
        config = self.image.config
        (place,) = config["Volumes"]
        arguments = [str(self.image.root), str(self.volume), place, config["User"], config["WorkingDir"]]
        return ["/bin/sh", "-c", _ENTER, "enter", *arguments, *command]


@contextmanager
def container(image: Image, folder: Path, variables: Mapping[str, str]) -> Iterator[Container]:
    """Yield a container that is not started yet, with an empty volume, and kill it at the end."""
    volume = folder / "volume"
    volume.mkdir(parents=True)
    user, group = map(int, image.config["User"].split(":"))
    os.chown(volume, user, group)
    made = Container(image, volume, variables, folder / "container.log")
    try:
        yield made
    finally:
        made.kill()
