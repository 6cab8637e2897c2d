"""A short text that changes when, and only when, a configured sink, source or store changes; no secret can be read from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr

ROUNDS: Final = 20_000
"""Makes guessing a weak secret from the digest slow, at about ten milliseconds for each sink."""


class Digest:
    """Digest of what a user chose, computed when it is first compared or shown: few runs of a router need it.

    Args:
        kind: the plugin's name.
        models: what the user chose; defaults count as chosen.
        files: contents of files that belong to it.
    """

    __slots__ = ("_files", "_kind", "_models", "_text")

    def __init__(self, kind: str, *models: BaseModel, files: Iterable[bytes] = ()) -> None:
        self._kind = kind
        self._files = tuple(files)
        self._models = models
        self._text = ""

    def __str__(self) -> str:
        if not self._text:
            self._text = digest(self._kind, *self._models, files=self._files)
        return self._text

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Digest) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


def digest(kind: str, *models: BaseModel, files: Iterable[bytes] = ()) -> str:
    """16 hexadecimal digits, the same in every run.

    Args:
        kind: the plugin's name.
        models: what the user chose; defaults count as chosen.
        files: contents of files that belong to it; without any, and with empty ones only, the digest is that of the models.
    """
    # a model that waits for secrets is not validated; do not warn of it
    parts = [kind, *(_plain(model.model_dump(warnings=False)) for model in models)]
    if any(contents := list(files)):
        parts.append([hashlib.sha256(content).hexdigest() for content in contents])
    text = json.dumps(parts, sort_keys=True)
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"edgerouter", ROUNDS, dklen=8).hex()


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return repr(value.get_secret_value())
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(repr(inner) for inner in value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
