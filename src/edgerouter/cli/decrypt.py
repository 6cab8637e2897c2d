"""`edgerouter decrypt`: read what the step `encrypt` made."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from edgerouter.cli.output import say
from edgerouter.errors import ConfigurationError
from edgerouter.masking import protect
from edgerouter.steps.sealing import NotOpened, open_sealed, parse_key

_LONGEST_LINE: Final = 512 * 1024**2
_LONGEST_KEY_FILE: Final = 4096


def decrypt(file: Path | None, key_files: Sequence[Path], *, raw: bool, as_json: bool) -> int:
    """Print the plain payloads of a file or of standard input.

    Args:
        file: `None` = standard input.
        key_files: files that hold keys; the first that fits is taken.
        raw: the whole input is one payload, and is written as it is.
        as_json: keep the lines, with the plain payload in them.

    Returns:
        0 if everything was read, else 1.
    """
    keys = [_key(path) for path in key_files]
    if file is None:
        return _read(sys.stdin.buffer, keys, raw=raw, as_json=as_json)
    try:
        with file.open("rb") as source:
            return _read(source, keys, raw=raw, as_json=as_json)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


def _key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_KEY_FILE).decode(errors="replace").strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    protect(text)
    try:
        return parse_key(text, "edgex" if len(text) == 128 else "jwe")
    except ValueError:
        raise ConfigurationError(f"{path}: not a key: 32 bytes in base64, or for EdgeX 64 bytes in hexadecimal") from None


def _read(source: BinaryIO, keys: Sequence[bytes], *, raw: bool, as_json: bool) -> int:
    if raw:
        return _print_raw(source.read(), keys)
    faults, number = 0, 0
    while line := source.readline(_LONGEST_LINE):
        number += 1
        if not line.strip():
            continue
        try:
            payload, entry = _opened(line, keys)
        except (NotOpened, ValueError, RecursionError) as error:
            say(f"line {number}: {error}", err=True)
            faults += 1
            continue
        sys.stdout.buffer.write(_with(entry, payload) if as_json and entry is not None else payload + b"\n")
    sys.stdout.buffer.flush()
    return 1 if faults else 0


def _print_raw(sealed: bytes, keys: Sequence[bytes]) -> int:
    try:
        payload = _open(sealed, keys)
    except NotOpened as error:
        say(str(error), err=True)
        return 1
    sys.stdout.buffer.write(payload)
    sys.stdout.buffer.flush()
    return 0


def _open(sealed: bytes, keys: Sequence[bytes]) -> bytes:
    fault = NotOpened("no key")
    for key in keys:
        try:
            return open_sealed(sealed, key)
        except NotOpened as error:
            fault = error
    raise fault


def _opened(line: bytes, keys: Sequence[bytes]) -> tuple[bytes, dict[str, Any] | None]:
    """Return the payload, and the object of the line if it is a line of JSON Lines."""
    if not line.lstrip().startswith(b"{"):
        return _open(line.strip(), keys), None
    entry = json.loads(line)
    payload = entry.get("payload")
    if isinstance(payload, dict) and isinstance(payload.get("base64"), str):
        return _open(base64.b64decode(payload["base64"]), keys), entry
    if not isinstance(payload, str):
        raise NotOpened('it has no sealed `payload`, which is a text or {"base64": ...}')
    return _open(payload.encode(errors="surrogatepass"), keys), entry


def _with(entry: dict[str, Any], payload: bytes) -> bytes:
    from edgerouter.objects.framing import json_of  # noqa: PLC0415  (only with --json)

    entry.pop("payload")
    return json.dumps(entry)[:-1].encode() + b', "payload": %b}\n' % json_of(payload)
