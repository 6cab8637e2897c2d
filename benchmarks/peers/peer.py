"""Contract of a peer: another program that does the router's work, installed, configured and started by the benchmark."""

from __future__ import annotations

import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

Destination = Literal["file", "http"]

TOPICS = "sensors/#"
CLIENT_ID = "peer"
"""Vector takes letters and digits only."""


class Missing(Exception):
    """The peer cannot be run here; the text is shown in its row."""


@dataclass(frozen=True, slots=True)
class Work:
    """One run: QoS 1, a session that survives the client, and everything received goes to one destination."""

    port: int
    """Port of the broker on 127.0.0.1; the peer's own listener if it accepts publishers itself."""
    folder: Path
    """Existing folder for configuration, state and logs."""
    file: Path
    """JSON Lines file to append to; unused with `url`."""
    url: str | None = None
    """Address to POST to, of a service that finds the messages in any body."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to the current ones."""
    standard_output: Path | None = None
    """File to append standard output to; the log by default."""


class Peer(ABC):
    """A program under comparison."""

    name: ClassVar[str]
    acknowledges: ClassVar[str]
    """Moment of the acknowledgement to the broker, as a phrase for the table."""
    destinations: ClassVar[tuple[Destination, ...]] = ("file",)
    listens: ClassVar[bool] = False
    """True for a program that accepts publishers itself, where others subscribe to a broker."""

    @abstractmethod
    def install(self, tools: Path) -> str:
        """Install into a folder if need be; return the version.

        Raises:
            Missing: it cannot be had.
        """

    @abstractmethod
    def command(self, work: Work) -> Command:
        """Write the configuration and return the process to start, the same after a crash."""


def version_of(*command: str) -> str:
    """Return the first version number that a command prints.

    Raises:
        Missing: there is no such command, it fails or it prints no number.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{command[0]} does not run: {error}") from None
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    if found is None:
        raise Missing(f"{' '.join(command)} prints no version")
    return found[0]
