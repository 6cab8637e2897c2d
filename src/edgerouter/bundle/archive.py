"""Writes the parts of a bundle into one archive: each masked and bounded, with a manifest of digests and reasons."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgerouter.masking import MASK, mask
from edgerouter.private_files import open_private
from edgerouter.visible import visible

MOST_BYTES: Final = 2 * 1024**2
"""Bytes of one part; of a longer one the end is kept, where the newest lines are."""
_MODE: Final = 0o600
_FOLDER: Final = "edgerouter-bundle"
_PIECE: Final = 6000
"""Characters that are masked at a time: of a longer text the mask keeps the two ends only."""
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle."""

    name: str
    text: str = ""
    missing: str = ""
    """Reason why it could not be collected; empty when it was."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A part as it stands in the manifest."""

    name: str
    bytes: int
    sha256: str
    cut: bool
    missing: str


def masked(text: str) -> str:
    """Return the text without secrets and without characters that command a terminal; its lines stay."""
    text = _PRIVATE_KEY.sub(MASK, text)
    pieces, piece = [], ""
    for line in text.splitlines(keepends=True):
        if piece and len(piece) + len(line) > _PIECE:
            pieces.append(piece)
            piece = ""
        piece += line
    return "".join(visible(mask(each), lines=True) for each in (*pieces, piece))


def masked_json(value: Any) -> str:
    """Return a document as JSON, each text in it masked by itself: a secret may hold what JSON escapes."""
    return json.dumps(_all_masked(value), indent=2, ensure_ascii=False) + "\n"


def _all_masked(value: Any) -> Any:
    if isinstance(value, str):
        return visible(mask(value))
    if isinstance(value, dict):
        return {_all_masked(str(key)): _all_masked(inner) for key, inner in value.items()}
    return [_all_masked(inner) for inner in value] if isinstance(value, list | tuple) else value


def write(file: Path, parts: Sequence[Part], most: int = MOST_BYTES) -> list[Entry]:
    """Write the archive, readable by this user alone; a file that is there is not replaced.

    Args:
        file: ends in `.tar.gz`.
        parts: masked already by what made them; everything is masked again.
        most: bytes of one part.

    Raises:
        OSError: it cannot be written.
    """
    contents = {part.name: _content(part, most) for part in parts}
    entries = [_entry(part, *contents[part.name]) for part in parts]
    manifest = masked_json({"parts": [_as_dict(entry) for entry in entries]}).encode()
    files = {"manifest.json": manifest} | {entry.name: contents[entry.name][0] for entry in entries if not entry.missing}
    descriptor = open_private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with (
            os.fdopen(descriptor, "wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, content in files.items():
                archive.addfile(_header(name, len(content)), io.BytesIO(content))
    except OSError:
        file.unlink(missing_ok=True)
        raise
    return entries


def _content(part: Part, most: int) -> tuple[bytes, bool]:
    content = masked(part.text).encode(errors="replace")
    if len(content) <= most:
        return content, False
    return b"... the beginning is left off\n" + content[-most:].partition(b"\n")[2], True


def _entry(part: Part, content: bytes, cut: bool) -> Entry:
    if part.missing:
        return Entry(part.name, 0, "", cut=False, missing=visible(mask(part.missing)))
    return Entry(part.name, len(content), hashlib.sha256(content).hexdigest(), cut, "")


def _as_dict(entry: Entry) -> dict[str, Any]:
    if entry.missing:
        return {"name": entry.name, "missing": entry.missing}
    return {"name": entry.name, "bytes": entry.bytes, "sha256": entry.sha256, "cut": entry.cut}


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(f"{_FOLDER}/{name}")
    header.size, header.mode, header.mtime = size, _MODE, 0
    return header
