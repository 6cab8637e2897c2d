"""Decodes the encodings in which text travels, and maps each decoded byte back to its origin."""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

_ESCAPES: Final = (
    (b"%", re.compile(rb"%(?P<percent>[0-9A-Fa-f]{2})")),
    (b"&", re.compile(rb"&(?P<entity>\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});")),
    (
        b"\\",
        re.compile(
            rb"\\u(?P<pair>[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2})"
            rb"|\\u\{?(?P<unicode>[0-9A-Fa-f]{4,6})\}?"
            rb"|\\x(?P<byte>[0-9A-Fa-f]{2})"
            rb"|\\(?P<simple>[\"'\\/bfnrt])"
        ),
    ),
)
"""Escapes of URLs; of HTML and XML; of JSON and programming languages. Each is undone separately: a secret may hold `%41`."""
_SIMPLE: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{6,}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_WORD: Final = re.compile(rb"[A-Z]?[a-z/_-]+|[A-Z_-]+")
_LONGEST_WORD: Final = 24
"""Longest run of letters that counts as a word: base64 mixes upper and lower case."""
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{8,}")
_HEX_APART: Final = re.compile(rb"[0-9A-Fa-f]{2}(?:[ :-][0-9A-Fa-f]{2}){3,}")
_LAST_CHARACTER: Final = 0x10FFFF
_SHORTEST_BASE64: Final = 6


Original: TypeAlias = Callable[[int, int], tuple[int, int]]
"""Maps a range of decoded bytes to the range of the text that it was decoded from."""


class Decoded(NamedTuple):
    """Decoded form of a text, or of a part of it."""

    data: bytes
    original: Original


def decoded(data: bytes) -> Iterator[Decoded]:
    """Yield every decoding of the text, excluding the text itself."""
    for sign, pattern in _ESCAPES:
        if sign in data and (form := _unescaped(data, pattern)) is not None:
            yield form
    for run in _BASE64.finditer(data):
        if len(run[0]) < _LONGEST_WORD and _WORD.fullmatch(run[0]):
            continue
        # the beginning may be cut off, or a path in front of it may look like base64 too
        for offset in range(4):
            yield from _from_base64(run[0][offset:].translate(_URL_SAFE), run.start() + offset)
    for run in _HEX.finditer(data):
        for offset in range(2):
            yield _from_hex(run[0][offset : offset + (len(run[0]) - offset) // 2 * 2], run.start() + offset, 2)
    for run in _HEX_APART.finditer(data):
        yield _from_hex(re.sub(rb"[ :-]", b"", run[0]), run.start(), 3)


def _unescaped(data: bytes, pattern: re.Pattern[bytes]) -> Decoded | None:
    parts: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in pattern.finditer(data):
        begin, end = match.span()
        made = _made_of(match)
        parts += (data[at:begin], made)
        starts += (*range(at, begin), *(begin for _ in made))
        ends += (*range(at + 1, begin + 1), *(end for _ in made))
        at = end
    if not parts:
        return None
    parts.append(data[at:])
    starts += range(at, len(data))
    ends += range(at + 1, len(data) + 1)
    return Decoded(b"".join(parts), lambda start, end: (starts[start], ends[end - 1]))


def _made_of(match: re.Match[bytes]) -> bytes:
    kind, text = match.lastgroup, match[match.lastgroup or 0]
    if kind in ("percent", "byte"):
        return bytes((int(text, 16),))
    if kind == "pair":
        high, low = int(text[:4], 16), int(text[-4:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).encode()
    if kind == "unicode":
        number = int(text, 16)
        return chr(number).encode(errors="surrogatepass") if number <= _LAST_CHARACTER else b""
    if kind == "simple":
        return _SIMPLE.get(text, text)
    return html.unescape(match[0].decode()).encode(errors="surrogatepass")


def _from_base64(run: bytes, begin: int) -> Iterator[Decoded]:
    if len(run) % 4 == 1:
        run = run[:-1]
    if len(run) < _SHORTEST_BASE64:
        return
    data = binascii.a2b_base64(run + b"=" * (-len(run) % 4))
    # three bytes are four characters; the last character of a range may hold bits of its last byte
    yield Decoded(data, lambda start, end: (begin + 4 * start // 3, begin - (-4 * end // 3)))


def _from_hex(run: bytes, begin: int, step: int) -> Decoded:
    data = binascii.unhexlify(run)
    return Decoded(data, lambda start, end: (begin + step * start, begin + step * (end - 1) + 2))
