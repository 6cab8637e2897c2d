"""Messages of the load generator, found in any text that holds their payloads whole: JSON Lines, request bodies, escaped or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PAYLOAD_BYTES = 200
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Filler that compresses to three quarters at best, and stays as it is in JSON."""
FILLER_BYTES = PAYLOAD_BYTES - len(b'{"n":,"t":,"x":""}') - 10 - 19
_PAYLOAD = re.compile(rb'"n\\*": *(\d+), *\\*"t\\*": *(\d{19}), *\\*"x\\*": *\\*"([A-Za-z0-9_-]*)\\*"')


def payloads(text: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield number, time and filler of every whole payload; one that was cut is passed over."""
    for found in _PAYLOAD.finditer(text):
        yield found[1], found[2], found[3]


def arrived(folder: Path) -> Counter[int]:
    """Count the arrivals of each number in the files of a folder; payloads of another size are not counted."""
    counter: Counter[int] = Counter()
    for path in sorted(folder.glob("[!.]*.jsonl*")):
        counter.update(int(number) for number, _, filler in payloads(path.read_bytes()) if len(filler) == FILLER_BYTES)
    return counter
