"""Finds known secrets in a text, whole or in part, plain or encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from edgerouter.masking.encodings import decoded

GRAM: Final = 8
"""Length of a piece of a longer secret that gives it away."""
_IN_PARTS: Final = 10
"""Length from which parts of a secret are searched for; a shorter one must match whole."""
_SHORTEST: Final = 4
_ANYTHING: Final = 6
"""Length from which a secret may be a plain word or number; `mqtt` or `1883` as a password would mask half of every message."""
_ALONE: Final = 8
"""Length up to which a secret matches only outside a longer word."""
_ENOUGH: Final = 12
"""Length from which a match counts even if it consists of words that a secret and ordinary text may share."""
_DEPTH: Final = 3
"""Depth to which nested encodings are decoded."""
_MOST_WORK: Final = 256 * 1024
"""Most bytes examined for one text, all decoded forms together."""

_CANONICAL: Final = bytes(0x20 if byte in b"+\t\n\v\f\r" else byte + 0x20 if 0x41 <= byte <= 0x5A else byte for byte in range(256))
"""Fold upper and lower case, and white space and `+`: servers change both."""
_TEXT: Final = bytes(range(0x20, 0x7F)) + b"\r\n\t"


class Index:
    """Looks up all secrets at once, in time that depends on the text alone.

    A long secret is cut into all its pieces of `GRAM` bytes, kept in sets. A piece that is a plain word is weak: it counts only
    next to another piece, or where the match is long.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._strong: set[bytes] = set()
        self._every: set[bytes] = set()
        self._short: dict[bytes, None] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets to the index."""
        for secret in secrets:
            self._add(secret.encode(errors="surrogatepass").strip())
        alternatives = [
            (rb"(?<![a-z0-9])%b(?![a-z0-9])" if len(each) < _ALONE else rb"%b") % re.escape(each)
            for each in sorted(self._short, key=len, reverse=True)
        ]
        self._pattern = re.compile(b"|".join(alternatives)) if alternatives else None

    def _add(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST or (len(secret) < _ANYTHING and secret.isalnum() and (secret.isalpha() or secret.isdigit())):
            return
        canonical = secret.translate(_CANONICAL)
        if len(secret) < _IN_PARTS:
            self._short[canonical] = None
            return
        for at in range(len(secret) - GRAM + 1):
            gram = canonical[at : at + GRAM]
            self._every.add(gram)
            if not _is_a_word(secret[at : at + GRAM]):
                self._strong.add(gram)
        if len(secret) < _ENOUGH:
            self._short[canonical] = None  # words alone would not be enough

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Return the ranges of bytes that hold secrets."""
        if not self._every and self._pattern is None:
            return []
        return list(self._look(data, _DEPTH, [_MOST_WORK]))

    def _look(self, data: bytes, depth: int, work: list[int]) -> Iterator[tuple[int, int]]:
        work[0] -= len(data)
        if work[0] < 0 or len(data) < _SHORTEST:
            return
        yield from self._as_it_stands(data.translate(_CANONICAL))
        # most decodings are not text: the input only happened to use the alphabet of an encoding
        if depth == 0 or (depth < _DEPTH and (len(data) < _ENOUGH or len(data.translate(None, _TEXT)) > len(data) // 8)):
            return
        for form in decoded(data):
            for start, end in self._look(form.data, depth - 1, work):
                yield form.original(start, end)

    def _as_it_stands(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._pattern is not None:
            for match in self._pattern.finditer(data):
                yield match.span()
        strong, every = self._strong, self._every
        hits = [at for at in range(len(data) - GRAM + 1) if data[at : at + GRAM] in every]
        begin = 0
        for number, at in enumerate(hits):
            if number + 1 < len(hits) and hits[number + 1] == at + 1:
                continue
            start, end = hits[begin], at + GRAM
            if end - start >= _ENOUGH or any(data[each : each + GRAM] in strong for each in hits[begin : number + 1]):
                yield start, end
            begin = number + 1


def _is_a_word(text: bytes) -> bool:
    return text.isalpha() and (text.islower() or text.isupper() or text.istitle())
