"""Messages in the demo's files, compared with those that its devices sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Payload(msgspec.Struct):
    n: int


class _Line(msgspec.Struct):
    topic: str
    payload: _Payload


@dataclass(frozen=True, slots=True)
class Stored:
    """One sink's files against what was sent to its topics."""

    sent: int
    stored: int
    """Different messages in the files."""
    duplicates: int
    missing: int


def compare(folder: Path, sent: Mapping[str, int]) -> Stored:
    """Read every file of a sink; `sent` holds, by topic, how many messages were numbered 1, 2, 3 ... and acknowledged."""
    found: dict[str, set[int]] = {}
    lines: Counter[str] = Counter()
    decode = msgspec.json.Decoder(_Line).decode
    for raw in _lines(folder):
        line = decode(raw)
        found.setdefault(line.topic, set()).add(line.payload.n)
        lines[line.topic] += 1
    stored = sum(len(numbers) for numbers in found.values())
    missing = sum(len(set(range(1, count + 1)) - found.get(topic, set())) for topic, count in sent.items())
    return Stored(sent=sum(sent.values()), stored=stored, duplicates=lines.total() - stored, missing=missing)


def _lines(folder: Path) -> Iterator[bytes]:
    # the sink's own files begin with a dot
    for path in sorted(folder.glob("[!.]*.jsonl")):
        with path.open("rb") as file:
            yield from file
