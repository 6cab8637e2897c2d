"""Numbers of a spool and of its sinks, for status, metrics and readiness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from edgerouter.histogram import Histogram

COMMIT_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: from a fast disk's sync to a slow card that stalls."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Ledger of a sink: `matched = delivered + filtered + dead_lettered + dropped + pending`; each is counted by itself."""

    matched: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    filtered: int = 0
    """No longer wanted since the topic filters changed."""
    pending: int = 0
    """Still to settle."""
    uncounted: int = 0
    """Stored and not compared with the topic filters yet: the other numbers may change by so many."""

    @property
    def waiting(self) -> bool:
        """Messages wait, or may."""
        return bool(self.pending or self.uncounted)


@dataclass(frozen=True, slots=True)
class SharedStatus:
    """A spool that several routers share, as one of them sees it."""

    router: str
    """Name of this router."""
    routers: Mapping[str, int]
    """Number of shards that each living router drains, by its name."""
    ledgers: Mapping[str, Ledger]
    """Ledger of each sink over all routers, about a second old."""
    lease_seconds: float = 0.0
    """Seconds until the others may take over, unless the lease is renewed; 0 once it is over."""
    lost_shards: int = 0
    """Shards that this router lost, since the start: its lease was over, or another router had taken the position."""
    unwritten_seconds: float = 0.0
    """Age of the oldest settlement that is not stored yet: a router that takes over now delivers those messages again."""

    @property
    def shards(self) -> int:
        """Shards that this router drains."""
        return self.routers.get(self.router, 0)


SpoolState = Literal["ok", "full", "read_only", "failing"]


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """Numbers of one moment."""

    type: str
    id: str
    state: SpoolState
    reason: str
    """Why it is not `ok`; empty when it is."""
    messages: int
    """Messages held: pending for some sink, or retained."""
    bytes: int
    """Bytes used, of the file or of memory."""
    max_bytes: int
    free_bytes: int | None
    first_sequence: int
    last_sequence: int
    written_bytes: int
    """Bytes of chunks written since the start."""
    commits: int
    quarantined_chunks: int
    quarantined_messages: int
    dead_letters: int
    dead_letter_bytes: int
    orphans: tuple[str, ...]
    """Sinks that are no longer configured and still hold a position."""
    shared: SharedStatus | None = None
    """Present when several routers share the spool."""
    commit_times: Histogram = field(default_factory=lambda: Histogram.of(COMMIT_BOUNDS))
    """Durations of commits since the start."""
