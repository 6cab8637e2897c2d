"""The comparison as Markdown, ready for the documentation: where edgerouter is behind comes first."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.peers.measure import CALM_RATE, KILLS, OUTAGE_RATE, Calm, FullLoad, Killed, Outage
from benchmarks.peers.peer import Destination, Peer
from benchmarks.peers.run import MeasurementT, Results
from benchmarks.peers.table import OURS, Column, Table
from benchmarks.report import environment

TO: dict[Destination, str] = {"file": "to a file", "http": "to an HTTP service"}


def as_markdown(results: Results, command: str) -> str:
    """Format versions, the list of figures in which another peer is better, and every table."""
    tables = [
        *(_full(results, destination) for destination in TO),
        *(_calm(results, destination) for destination in TO),
        _killed(results),
        _outage(results),
    ]
    tables = [table for table in tables if table.peers]
    behind = [line for table in tables for line in table.behind()] or ["- nowhere"]
    if OURS not in results.versions:
        behind = ["- not measured"]
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    blocks = [
        f"`{command}` on {machine}.",
        "Where edgerouter is behind:\n\n" + "\n".join(behind),
        *("\n".join(table.lines()) for table in tables),
        "\n".join(_peers(results)),
    ]
    if results.failed:
        blocks.append("Failed:\n\n" + "\n".join(f"- {failure}" for failure in results.failed))
    return "\n\n".join(blocks) + "\n"


def _peers(results: Results) -> list[str]:
    lines = ["| peer | version | acknowledges to the broker |", "|---|---|---|"]
    for peer in results.peers:
        version = results.versions.get(peer.name, f"not run: {results.missing.get(peer.name)}")
        moment = f"{peer.acknowledges}; it is the broker itself" if peer.listens else peer.acknowledges
        lines.append(f"| {peer.name} | {version} | {moment} |")
    return lines


def _medians(
    results: Results, kind: type[MeasurementT], destination: Destination
) -> tuple[Callable[[Callable[[MeasurementT], float | None]], Callable[[Peer], float | None]], list[Peer]]:
    """Return a function that makes a column's value from a figure of the measurement, and the peers that were measured."""
    made = {peer: found for peer in results.present(destination) if (found := results.of(kind, peer, destination))}

    def of(read: Callable[[MeasurementT], float | None]) -> Callable[[Peer], float | None]:
        def value(peer: Peer) -> float | None:
            figures = [figure for run in made.get(peer, []) if (figure := read(run)) is not None]
            return median(figures) if figures else None

        return value

    return of, list(made)


def _full(results: Results, destination: Destination) -> Table:
    of, peers = _medians(results, FullLoad, destination)
    columns = [
        Column("CPU, us a message", 1, of(lambda run: run.cpu_us_a_message)),
        Column("messages/s", 0, of(lambda run: run.messages_a_second), better="more"),
        Column("peak RSS, MB", 0, of(lambda run: run.peak_rss_bytes / 1e6)),
        Column("bytes written a byte of payload", 2, of(lambda run: run.written_a_payload_byte)),
        Column("start to first message, s", 2, of(lambda run: run.start_seconds)),
    ]
    return Table(f"full load, {TO[destination]}", columns, peers)


def _calm(results: Results, destination: Destination) -> Table:
    of, peers = _medians(results, Calm, destination)
    columns = [
        Column("CPU, % of a core", 1, of(lambda run: run.cpu_percent)),
        Column("RSS, MB", 0, of(lambda run: run.rss_bytes / 1e6)),
        Column("p50, ms", 1, of(lambda run: run.p50_ms)),
        Column("p99, ms", 1, of(lambda run: run.p99_ms)),
        Column("bytes written a byte of payload", 2, of(lambda run: run.written_a_payload_byte)),
        Column("arrived in time, %", 1, of(lambda run: run.share * 100), better="more"),
    ]
    return Table(f"{CALM_RATE:,.0f} messages/s, {TO[destination]}", columns, peers)


def _killed(results: Results) -> Table:
    of, peers = _medians(results, Killed, "file")
    columns = [
        Column("lost", 0, of(lambda run: run.lost)),
        Column("twice", 0, of(lambda run: run.again)),
        Column("acknowledged to the publisher", 0, of(lambda run: run.acknowledged), better=None),
    ]
    return Table(f"killed {KILLS} times with SIGKILL at full load, to a file", columns, peers)


def _outage(results: Results) -> Table:
    of, peers = _medians(results, Outage, "http")
    columns = [
        Column("lost", 0, of(lambda run: run.lost)),
        Column("twice", 0, of(lambda run: run.again)),
        Column("acknowledged to the publisher", 0, of(lambda run: run.acknowledged), better=None),
        Column("first message after the return, s", 2, of(lambda run: run.back_after_seconds), better=None),
    ]
    return Table(f"HTTP service away, at {OUTAGE_RATE:,.0f} messages/s", columns, peers)
