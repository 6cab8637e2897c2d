"""Messages in the file sink's folder, compared with those that the load generator sent."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec


class Payload(msgspec.Struct):
    """The load generator's payload."""

    n: int
    t: int


class Line(msgspec.Struct):
    """One line of the file sink with a message of the load generator."""

    id: str
    topic: str
    payload: Payload


@dataclass(slots=True)
class Arrivals:
    """Messages of the load generator that a file sink has written."""

    numbers: dict[str, Counter[int]] = field(default_factory=dict)
    """Number of arrivals of each running number, by topic."""
    ids: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Number of lines, including duplicates."""
        return self.ids.total()

    @property
    def duplicates(self) -> int:
        """Lines in excess of distinct messages."""
        return sum(counter.total() - len(counter) for counter in self.numbers.values())

    @property
    def stored_again(self) -> int:
        """Messages that the router has stored more than once, and which so have several ids."""
        return len(self.ids) - sum(len(counter) for counter in self.numbers.values())

    def missing_from(self, expected: dict[str, set[int]]) -> dict[str, list[int]]:
        """Return the expected numbers that have not arrived, by topic; empty if all have."""
        missing = {topic: sorted(numbers - self.numbers.get(topic, Counter()).keys()) for topic, numbers in expected.items()}
        return {topic: numbers for topic, numbers in missing.items() if numbers}


def lines(folder: Path) -> Iterator[bytes]:
    """Yield every complete line of every file below a folder, including rotated and compressed ones, oldest name first."""
    # the sink's internal files begin with a dot
    for path in sorted(folder.rglob("[!.]*.jsonl*")):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # the last line of a file may be incomplete
            yield from (line for line in file if line.endswith(b"\n"))


def arrivals(folder: Path) -> Arrivals:
    """Read a file sink's folder.

    Raises:
        msgspec.DecodeError: a line is not JSON, or not a message of the load generator.
    """
    found = Arrivals()
    decode = msgspec.json.Decoder(Line).decode
    for raw in lines(folder):
        line = decode(raw)
        found.numbers.setdefault(line.topic, Counter())[line.payload.n] += 1
        found.ids[line.id] += 1
    return found
