"""Masking of secrets: the one place through which text of other parties goes before it is logged, stored or shown.

A service may answer with what it was sent: as it was, escaped for JSON, HTML, XML or a URL, in base64 or hexadecimal, or in part.
`protect` remembers a secret for the rest of the process; `mask` replaces every known secret in a text, in each of these forms, and
credentials that are recognised by their shape alone, such as signatures of a URL.

The walk of a text: `index` looks it up as it stands and in each form that `encodings` can undo; `shapes` adds what looks like a
credential; `parts` finds out, when a secret is learned, which parts of it are secret.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from edgerouter.masking.index import Index
from edgerouter.masking.parts import secret_parts
from edgerouter.masking.shapes import mask_shapes

__all__ = ["MASK", "Secrets", "forget_all", "mask", "mask_first", "protect"]

MASK: Final = "***"
_LONGEST: Final = 8 * 1024
"""Characters of a text that are kept: the beginning, and more of the end, where a traceback says what happened."""
_KEPT_AT_THE_BEGINNING: Final = 2 * 1024
_MOST_SECRETS: Final = 256 * 1024
"""Characters of all secrets together; the index takes about a hundred times as many bytes."""
_LONGEST_SECRET: Final = 16 * 1024
_MOST_CACHED: Final = 128
"""Texts whose masked form is kept: a sink that fails says the same again and again."""
_LONGEST_CACHED: Final = 1024


class Secrets:
    """Known secrets, and the texts without them.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, None] = {}
        self._characters = 0
        self._index = Index()
        self._cache: dict[str, str] = {}

    def protect(self, texts: Iterable[str]) -> None:
        """Remember secrets. Rotated ones stay known until the bound pushes out the oldest."""
        found = [part[:_LONGEST_SECRET] for text in texts for part in secret_parts(text)]
        with self._lock:
            new = [part for part in dict.fromkeys(found) if part not in self._known]
            for part in found:  # the newest stand last
                self._known.pop(part, None)
                self._known[part] = None
            if not new:
                return
            self._characters += sum(map(len, new))
            if self._characters > _MOST_SECRETS:
                self._forget_oldest()
                self._index = Index(self._known)
            else:
                self._index.add(new)
            self._cache = {}

    def mask(self, text: str) -> str:
        """The text with `***` in place of every known secret; of a very long one the beginning and the end."""
        cache = self._cache
        if (masked := cache.get(text)) is not None:
            return masked
        masked = self._masked(text)
        if len(text) <= _LONGEST_CACHED:
            if len(cache) >= _MOST_CACHED:
                cache = self._cache = {}
            cache[text] = masked
        return masked

    def _masked(self, text: str) -> str:
        if len(text) > _LONGEST:
            end = _LONGEST - _KEPT_AT_THE_BEGINNING
            return f"{self._masked(text[:_KEPT_AT_THE_BEGINNING])} ... {self._masked(text[-end:])}"
        data = text.encode(errors="surrogatepass")
        parts: list[bytes] = []
        at = 0
        for start, end in _merged(self._index.find(data)):
            parts += (data[at:start], MASK.encode())
            at = end
        masked = text if not parts else b"".join([*parts, data[at:]]).decode(errors="replace")
        return mask_shapes(masked, MASK)

    def _forget_oldest(self) -> None:
        for part in list(self._known):
            if self._characters <= _MOST_SECRETS // 2:
                return
            del self._known[part]
            self._characters -= len(part)


def _merged(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that touch are one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


_OF_THIS_PROCESS = Secrets()


def protect(*texts: str) -> None:
    """Remember secrets of this process: what is configured, what a secret store gives, tokens that a service issues."""
    _OF_THIS_PROCESS.protect(texts)


def mask(text: str) -> str:
    """The text without any secret of this process."""
    return _OF_THIS_PROCESS.mask(text)


def mask_first(text: str, most: int) -> str:
    """The first characters of a text, masked before it is cut: half of a secret is not found so well."""
    masked = mask(text[: 4 * most])
    return masked if len(masked) <= most else masked[:most] + "..."


def forget_all() -> None:
    """Start anew; for tests, which share one process."""
    _OF_THIS_PROCESS.__init__()  # type: ignore[misc]  # the same object, which others hold
