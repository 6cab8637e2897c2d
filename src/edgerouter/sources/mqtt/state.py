"""State that an MQTT source keeps across restarts: its session, in a small file replaced atomically."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import structlog

from edgerouter.private_files import make_private, read_private, replace_private

log = structlog.get_logger("edgerouter.mqtt")

TOKEN_BYTES: Final = 8
_BY_DIGEST: Final = "by_digest_of_topic"
_LARGEST: Final = 16 * 1024**2
"""Largest valid state file; a larger one counts as damaged."""


@dataclass(slots=True)
class SessionState:
    """Known state of a session at a broker."""

    broker: str
    client_id: str
    token: str = field(default_factory=lambda: secrets.token_hex(TOKEN_BYTES))
    """Identifies the session and its unacknowledged messages: receipts with another token are invalid."""
    ids_reused: bool = False
    """The broker was seen to reuse an acknowledged packet id at once, instead of counting up."""
    subscriptions: list[str] = field(default_factory=list)
    """Filters that the session may hold at the broker."""
    protocol: str = ""
    """MQTT version that the broker accepted, for `protocol: auto`."""


def read_session(folder: Path | None) -> SessionState | None:
    """Return the session of the last run; `None` if there is none, or its file is unusable."""
    found = _read(folder, "session.json")
    try:
        return SessionState(**found) if found is not None else None
    except TypeError:
        return None


def write_session(folder: Path | None, state: SessionState) -> None:
    """Save the session for a restart. Reads and writes files: not for the event loop."""
    _write(folder, "session.json", asdict(state))


def digest_of(content: bytes) -> str:
    """Return a short name for a topic or a payload."""
    return blake2b(content, digest_size=8).hexdigest()


def read_retained(folder: Path | None) -> dict[str, str]:
    """Read the digest of the last content stored, by digest of its topic."""
    found = _read(folder, "retained.json") or {}
    if isinstance(kept := found.get(_BY_DIGEST), dict):
        return {topic: digest for topic, digest in kept.items() if isinstance(digest, str)}
    # format of releases before 0.2
    return {digest_of(topic.encode(errors="replace")): digest for topic, digest in found.items() if isinstance(digest, str)}


def write_retained(folder: Path | None, digests: dict[str, str]) -> None:
    """Save the digests for a restart. Writes files: not for the event loop."""
    _write(folder, "retained.json", {_BY_DIGEST: digests})


def _read(folder: Path | None, name: str) -> dict[str, Any] | None:
    if folder is None:
        return None
    try:
        found = json.loads(read_private(folder / name, _LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("a state file is unusable and ignored", file=str(folder / name), reason=str(error))
        return None
    return found if isinstance(found, dict) else None


def _write(folder: Path | None, name: str, content: dict[str, Any]) -> None:
    if folder is None:
        return
    try:
        make_private(folder)
        replace_private(folder / name, json.dumps(content).encode())
    except OSError as error:
        # a full disk must not stop the source: lost state costs duplicates, never a message
        log.warning("a state file could not be written", file=str(folder / name), reason=str(error))
