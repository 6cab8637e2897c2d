"""Masks secrets: text from another party passes through here before it is logged, stored or shown.

A service may echo what it received: verbatim, escaped for JSON, HTML, XML or a URL, in base64 or hexadecimal, or in part.
`protect` remembers a secret for the rest of the process. `mask` replaces every known secret in a text, in each of these forms,
and credentials that are recognisable by shape alone, such as the signature of a URL.

The stages: `index` looks up the text as it stands and in every form that `encodings` can decode; `shapes` adds whatever looks
like a credential; `parts` decides, when a secret is registered, which parts of it are secret.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from edgerouter.masking.index import Index
from edgerouter.masking.parts import secret_parts
from edgerouter.masking.shapes import mask_shapes

__all__ = ["MASK", "Secrets", "forget_all", "mask", "mask_first", "never_secret", "protect"]

MASK: Final = "***"
_LONGEST: Final = 8 * 1024
"""Characters kept of a long text: the beginning, and more of the end, where a traceback names the error."""
_KEPT_AT_THE_BEGINNING: Final = 2 * 1024
_MOST_SECRETS: Final = 256 * 1024
"""Total characters of all secrets; the index takes about a hundred times as many bytes."""
_LONGEST_SECRET: Final = 16 * 1024
_MOST_PUBLIC: Final = 4096
"""Texts that are not secret; beyond it they are forgotten, and masked."""
_MOST_CACHED: Final = 128
"""Texts whose masked form is cached: a failing sink repeats the same error."""
_LONGEST_CACHED: Final = 1024


class Secrets:
    """Known secrets, and masked forms of recent texts.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, None] = {}
        self._public: set[str] = set()
        self._characters = 0
        self._index = Index()
        self._cache: dict[str, str] = {}

    def never_secret(self, texts: Iterable[str]) -> None:
        """Ignore texts that stand in place of a secret when they are to be protected."""
        with self._lock:
            self._public.update(texts)
            if len(self._public) > _MOST_PUBLIC:
                self._public = set()

    def protect(self, texts: Iterable[str]) -> None:
        """Remember secrets. Rotated ones stay known until the bound evicts the oldest."""
        found = [part[:_LONGEST_SECRET] for text in texts if text not in self._public for part in secret_parts(text)]
        with self._lock:
            new = [part for part in dict.fromkeys(found) if part not in self._known]
            for part in found:  # the newest go last
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
        """Return the text with `***` in place of every known secret; of a very long text, only the beginning and the end."""
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
    """Merge ranges that touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


_OF_THIS_PROCESS = Secrets()


def protect(*texts: str) -> None:
    """Remember secrets for this process: configured ones, those of a secret store, and tokens that a service issues."""
    _OF_THIS_PROCESS.protect(texts)


def never_secret(*texts: str) -> None:
    """Ignore texts that stand in place of a secret, such as `${file:/run/secrets/x}`, when they are to be protected."""
    _OF_THIS_PROCESS.never_secret(texts)


def mask(text: str) -> str:
    """Return the text without any secret of this process."""
    return _OF_THIS_PROCESS.mask(text)


def mask_first(text: str, most: int) -> str:
    """Return the first characters of a text, masked before cutting: half a secret is harder to find."""
    masked = mask(text[: 4 * most])
    return masked if len(masked) <= most else masked[:most] + "..."


def forget_all() -> None:
    """Forget every secret; for tests, which share one process."""
    _OF_THIS_PROCESS.__init__()  # type: ignore[misc]  # the same object, which others hold
