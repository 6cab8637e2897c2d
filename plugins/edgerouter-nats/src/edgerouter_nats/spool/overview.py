"""Numbers of the shared spool, for status: what this router holds, and what all of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.status import Ledger, SharedStatus, SpoolState, SpoolStatus
from edgerouter_nats.spool.engine import Engine
from edgerouter_nats.spool.names import sink_of
from edgerouter_nats.spool.sequences import first_of
from edgerouter_nats.spool.settings import Settings
from edgerouter_nats.spool.trouble import Trouble


class Overview:
    """The numbers of one moment.

    Args:
        engine: the parts of the spool.
        settings: of the spool.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self.whole = False
        """Show the sinks of all routers: no router runs here."""
        self.routers: Callable[[], Mapping[str, tuple[str, ...]]] = dict
        """Returns the ledgers that each living router drains."""
        self.lease: Callable[[], tuple[float, int]] = lambda: (0.0, 0)
        """Returns the seconds that the lease is valid for, and the number of shards that were lost."""
        self.troubles: tuple[Trouble, ...] = ()
        """Of the leases."""
        self.dead_letters: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Returns the number of dead letters, and their bytes."""

    @property
    def status(self) -> SpoolStatus:
        """The numbers of the spool."""
        engine = self._engine
        stream = engine.trimming.stream
        state, reason = self._state
        dead_letters, dead_letter_bytes = self.dead_letters()
        lease_seconds, lost_shards = self.lease()
        return SpoolStatus(
            type="jetstream",
            id=engine.id,
            state=state,
            reason=reason,
            messages=engine.tail.content.messages(stream.first),
            bytes=stream.bytes,
            max_bytes=self._settings.max_bytes,
            free_bytes=None,
            first_sequence=first_of(stream.first),
            last_sequence=engine.tail.end - 1,
            written_bytes=engine.writer.written_bytes,
            commits=engine.appender.commits,
            quarantined_chunks=len(engine.chunks.damaged),
            quarantined_messages=0,
            dead_letters=dead_letters,
            dead_letter_bytes=dead_letter_bytes,
            orphans=self._orphans,
            shared=SharedStatus(
                engine.router,
                {name: len(ledgers) for name, ledgers in self.routers().items()},
                summed(self._all.values()),
                lease_seconds=lease_seconds,
                lost_shards=lost_shards,
                unwritten_seconds=engine.positions.unwritten_seconds,
            ),
        )

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """Numbers by sink, of the positions that this router holds, and of sinks that no router has."""
        if self.whole:
            return summed(self._all.values())
        shared = self._engine.trimming.shared
        ledgers = {ledger.name: ledger for ledger in self._engine.ledgers}
        for name in shared.orphans:
            if sink_of(name) not in self._engine.routing:
                ledgers.setdefault(name, shared.ledgers[name])
        return summed(ledgers.values())

    @property
    def _all(self) -> dict[str, SinkLedger]:
        """Every position: those held here as they are, the others as they were about a second ago."""
        return {**self._engine.trimming.shared.ledgers, **{ledger.name: ledger for ledger in self._engine.ledgers}}

    @property
    def _state(self) -> tuple[SpoolState, str]:
        engine = self._engine
        if engine.writer.full:
            return "full", engine.writer.full
        troubles = (engine.writer.trouble, engine.positions.trouble, engine.tail.trouble, engine.trimming.trouble, *self.troubles)
        failing = engine.trimming.unsafe or next((trouble.reason for trouble in troubles if trouble.reason), "")
        return ("failing", failing) if failing else ("ok", "")

    @property
    def _orphans(self) -> tuple[str, ...]:
        engine = self._engine
        shared = {sink_of(name) for name in (*engine.trimming.shared.orphans, *(ledger.name for ledger in engine.ledgers))}
        return tuple(sorted(shared - set(engine.routing.sinks)))


def summed(ledgers: Iterable[SinkLedger]) -> dict[str, Ledger]:
    """Return the numbers of each sink, over all its shards."""
    sums: dict[str, Ledger] = {}
    for ledger in ledgers:
        sink = sink_of(ledger.name)
        numbers = ledger.numbers
        before = sums.get(sink, Ledger())
        sums[sink] = Ledger(*(getattr(before, f.name) + getattr(numbers, f.name) for f in fields(Ledger)))
    return sums
