"""Finds a mosquitto on this machine, and the configuration that it was started with."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerouter.doctor.broker.mosquitto import Settings, read

_PROC: Final = Path("/proc")
_PROGRAM: Final = "mosquitto"
_USUAL_PORT: Final = 1883
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Process:
    number: int
    arguments: list[str]

    def option(self, *names: str) -> str | None:
        """Return the argument behind an option."""
        for name, value in zip(self.arguments, self.arguments[1:], strict=False):
            if name in names:
                return value
        return None


def is_local(host: str) -> bool:
    """Return True for an address of this machine's loopback."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def find(port: int, proc: Path = _PROC) -> tuple[Settings | None, str]:
    """Return the settings of the mosquitto that listens on a port of this machine, or the reason why they are not known.

    Args:
        port: of the broker's URL.
        proc: mount point of the kernel's view of processes.
    """
    problem = ""
    for process in _running(proc):
        file = process.option("-c", "--config-file")
        ports = {process.option("-p", "--port") or ""}
        if file is None:
            if str(port) in (ports if ports != {""} else {str(_USUAL_PORT)}):
                return Settings(f"process {process.number} runs without a configuration file"), ""
            continue
        try:
            root = proc / str(process.number) / "root"
            path = Path(file) if file.startswith("/") else Path((proc / str(process.number) / "cwd").readlink()) / file
            if str(port) in ports | _ports(root / str(path).lstrip("/")):
                return read(path, root), ""
        except OSError as error:
            problem = f"{file}: {error.strerror}"
    return None, problem


def _running(proc: Path) -> Iterator[_Process]:
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "comm").read_text(encoding="utf-8", errors="replace").strip() == _PROGRAM:
                arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield _Process(int(folder.name), arguments)


def _ports(file: Path) -> set[str]:
    """Return the ports that a configuration names, or the usual one."""
    with file.open("rb") as opened:
        lines = [line.split() for line in opened.read(_MOST_BYTES).decode(errors="replace").splitlines()]
    named = {words[1] for words in lines if len(words) > 1 and words[0] in ("listener", "port")}
    return named or {str(_USUAL_PORT)}
