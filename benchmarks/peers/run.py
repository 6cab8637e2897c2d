"""Order of a comparison: the peers take turns in each kind of measurement, so that other load on the machine affects all alike."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.peers.measure import Calm, FullLoad, Killed, Measurement, Outage, calm, full_load, killed, outage
from benchmarks.peers.peer import Destination, Peer
from benchmarks.peers.running import Silent

MeasurementT = TypeVar("MeasurementT", FullLoad, Calm, Killed, Outage)
DESTINATIONS: tuple[Destination, ...] = ("file", "http")


@dataclass(frozen=True, slots=True)
class Options:
    """Length of a comparison."""

    seconds: float
    """Length of a run at full load or at a moderate rate."""
    rounds: int
    outage: float
    """Seconds without the destination."""
    folder: Path


@dataclass(slots=True)
class Results:
    """Everything that was found out about the peers."""

    peers: list[Peer]
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Reason why a peer was not run, by its name."""
    failed: list[str] = field(default_factory=list)
    """Measurements that failed, each with its reason."""
    silent: set[tuple[str, Destination]] = field(default_factory=set)
    """Peers that delivered nothing to a destination, and are not tried again."""
    measured: list[tuple[str, Destination, Measurement]] = field(default_factory=list)

    def present(self, destination: Destination) -> list[Peer]:
        """Return the installed peers that can write to a destination."""
        return [peer for peer in self.peers if peer.name in self.versions and destination in peer.destinations]

    def of(self, kind: type[MeasurementT], peer: Peer, destination: Destination) -> list[MeasurementT]:
        """Return the measurements of one kind."""
        return [made for name, to, made in self.measured if (name, to) == (peer.name, destination) and isinstance(made, kind)]


async def run(results: Results, options: Options) -> None:
    """Measure every installed peer; a measurement that fails is noted, and the next one runs."""
    seconds, folder = options.seconds, options.folder
    for _ in range(options.rounds):
        for destination in DESTINATIONS:
            for peer in results.present(destination):
                full = partial(full_load, peer, destination, seconds, folder)
                await _attempt(results, peer, destination, "full load", full, bound=60 + 3 * seconds)
            for peer in results.present(destination):
                rate = partial(calm, peer, destination, seconds, folder)
                await _attempt(results, peer, destination, "moderate rate", rate, bound=60 + 4 * seconds)
    for peer in results.present("file"):
        await _attempt(results, peer, "file", "killed", partial(killed, peer, folder), bound=120)
    # costs are not measured here: all at once
    bound = 180 + options.outage
    waiting = [(peer, partial(outage, peer, options.outage, folder)) for peer in results.present("http")]
    await asyncio.gather(*[_attempt(results, peer, "http", "outage", measure, bound=bound) for peer, measure in waiting])


async def _attempt(
    results: Results, peer: Peer, to: Destination, what: str, measure: Callable[[], Awaitable[Measurement]], *, bound: float
) -> None:
    """Measure within a bound of seconds."""
    if (peer.name, to) in results.silent:
        return
    print(f"{what}, to {to}: {peer.name}", file=sys.stderr)
    try:
        async with asyncio.timeout(bound):
            results.measured.append((peer.name, to, await measure()))
    except Exception as error:  # noqa: BLE001  (one peer must not end the comparison)
        if isinstance(error, Silent):
            results.silent.add((peer.name, to))
        reason = " ".join(str(error).split()) or f"{type(error).__name__} after {bound:g} s at most"
        results.failed.append(f"{peer.name}, {what}, to {to}: {reason}")
        print(f"{peer.name}: {reason}", file=sys.stderr)
