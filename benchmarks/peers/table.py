"""A table of figures, one row for each peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.peers.edgerouter import Edgerouter
from benchmarks.peers.peer import Peer

OURS = Edgerouter.name


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of every peer."""

    title: str
    digits: int
    value: Callable[[Peer], float | None]
    better: Literal["less", "more"] | None = "less"
    """`None` for a figure that is not compared."""

    def text(self, peer: Peer) -> str:
        """Format the figure of a peer; empty where there is none."""
        value = self.value(peer)
        return "" if value is None else f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of the peers side by side."""

    title: str
    columns: Sequence[Column]
    peers: Sequence[Peer]

    def lines(self) -> Iterator[str]:
        """Yield lines of Markdown, the peers ordered by the first column."""
        yield f"| {self.title} | {' | '.join(column.title for column in self.columns)} |"
        yield f"|---|{'---:|' * len(self.columns)}"
        for peer in sorted(self.peers, key=self._rank):
            name = f"**{peer.name}**" if peer.name == OURS else peer.name
            yield f"| {name} | {' | '.join(column.text(peer) for column in self.columns)} |"

    def _rank(self, peer: Peer) -> tuple[bool, float]:
        first = self.columns[0]
        value = first.value(peer)
        return value is None, (value or 0.0) * (-1 if first.better == "more" else 1)

    def behind(self) -> Iterator[str]:
        """Yield a line for each figure in which another peer does better than edgerouter, as printed."""
        for column in self.columns:
            figures = {peer.name: round(value, column.digits) for peer in self.peers if (value := column.value(peer)) is not None}
            ours = figures.get(OURS)
            figures = {name: value for name, value in figures.items() if not name.startswith(OURS)}
            if ours is None or column.better is None:
                continue
            better = [name for name, value in figures.items() if (value > ours if column.better == "more" else value < ours)]
            shown = ", ".join(f"{name} {figures[name]:,.{column.digits}f}" for name in sorted(better, key=figures.__getitem__))
            if shown:
                yield f"- {self.title}, {column.title}: {ours:,.{column.digits}f}. Better: {shown}."
