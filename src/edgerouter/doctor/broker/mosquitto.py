"""Settings of mosquitto that no client can ask for: from its configuration file, else the defaults of its version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerouter.doctor.broker.target import SUBJECT
from edgerouter.doctor.finding import Finding, finding

_MOST_BYTES: Final = 256 * 1024
_MOST_FILES: Final = 100
_USUAL_SECONDS: Final = 1800
_LONG_SECONDS: Final = 120
"""A queue that is saved less often is worth a warning."""
_VERSION: Final = re.compile(r"mosquitto version (\d+)\.(\d+)")
_ADVICE: Final = "set `persistence true` and `autosave_interval 60` in mosquitto.conf"
_UNREADABLE: Final = "not measurable without --restart-test"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that decide over a queue."""

    source: str
    """File, or how the program was started."""
    persistence: bool = False
    autosave_seconds: int = _USUAL_SECONDS
    """0: only when the broker ends, or on SIGUSR1."""
    on_changes: bool = False
    """`autosave_interval` counts changes, not seconds."""


def is_mosquitto(version: str) -> bool:
    """Return True for a broker that names itself so."""
    return _VERSION.match(version) is not None


def read(file: Path, root: Path = Path("/")) -> Settings:
    """Read a configuration file and the folder that it includes.

    Args:
        file: the file, an absolute path below `root`.
        root: root of the file system that the broker sees.

    Raises:
        OSError: it cannot be read.
    """
    values: dict[str, str] = {}
    for key, value in _lines(_below(root, file)):
        values[key] = value
        if key == "include_dir":
            for each in sorted(_below(root, Path(value)).glob("*.conf"))[:_MOST_FILES]:
                values |= dict(_lines(each))
    seconds = values.get("autosave_interval", str(_USUAL_SECONDS))
    return Settings(
        str(file),
        persistence=values.get("persistence") == "true",
        autosave_seconds=int(seconds) if seconds.isdecimal() else _USUAL_SECONDS,
        on_changes=values.get("autosave_on_changes") == "true",
    )


def _below(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    with file.open("rb") as opened:
        text = opened.read(_MOST_BYTES).decode(errors="replace")
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            yield key, value.strip()


def findings(version: str, settings: Settings | None, problem: str = "") -> list[Finding]:
    """Return what is known about the life of queues over a restart of the broker.

    Args:
        version: as the broker names itself.
        settings: as found; `None` where they cannot be read.
        problem: the reason for that.
    """
    if settings is not None:
        return [_persistence(settings), _saving(settings)]
    reason = f"{problem}; {_UNREADABLE}" if problem else _UNREADABLE
    if not is_mosquitto(version):
        return [finding(SUBJECT, "persistence", "unknown", reason, "run `edgerouter doctor --restart-test`")]
    unknown = f"{version} by default; {reason}"
    return [
        finding(SUBJECT, "persistence", "unknown", f"persistence off: {unknown}", _ADVICE),
        finding(SUBJECT, "saving", "unknown", f"saving every {_USUAL_SECONDS // 60} minutes: {unknown}", _ADVICE),
    ]


def _persistence(settings: Settings) -> Finding:
    if settings.persistence:
        return finding(SUBJECT, "persistence", "ok", f"persistence on ({settings.source})")
    return finding(
        SUBJECT,
        "persistence",
        "warn",
        f"persistence off ({settings.source}): a restart of the broker loses every queue, session and retained message",
        _ADVICE,
    )


def _saving(settings: Settings) -> Finding:
    name = "saving"
    if settings.on_changes:
        return finding(SUBJECT, name, "ok", f"saving after {settings.autosave_seconds} changes ({settings.source})")
    if settings.autosave_seconds == 0:
        evidence = f"saving only when the broker ends ({settings.source}): a power cut loses what came since its start"
        return finding(SUBJECT, name, "warn", evidence, _ADVICE)
    often = (
        f"every {settings.autosave_seconds // 60} minutes"
        if settings.autosave_seconds >= _LONG_SECONDS
        else f"every {settings.autosave_seconds} s"
    )
    if settings.autosave_seconds <= _LONG_SECONDS:
        return finding(SUBJECT, name, "ok", f"saving {often} ({settings.source})")
    evidence = f"saving {often} ({settings.source}): a power cut or a kill loses what was queued since"
    return finding(SUBJECT, name, "warn", evidence, _ADVICE)
