"""Kept batches: messages that a sink has to write again together, as it did before."""

from __future__ import annotations

from typing import Final

import structlog

from edgerouter.spool.log.ledger import SinkLedger, unseal
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.position import Position
from edgerouter.spool.sqlite.write_set import WriteSet

_NAME: Final = "batch/"

log = structlog.get_logger("edgerouter.spool")


def name_of(number: int, sink: str) -> str:
    """Return the name under which a batch is stored."""
    return f"{_NAME}{number}/{sink}"


class Batches:
    """Numbers the batches, and stores them beside the ledgers that hold them."""

    def __init__(self, writes: WriteSet) -> None:
        self._writes = writes
        self._next = 1

    def restore(self, values: dict[str, bytes], ledgers: Ledgers) -> None:
        """Read the stored batches; a damaged one is forgotten."""
        for name, value in sorted(values.items()):
            if not name.startswith(_NAME):
                continue
            number, _, sink = name.removeprefix(_NAME).partition("/")
            try:
                batch, kept = Position.decode(unseal(value)), int(number)
            except ValueError as error:
                log.warning("a damaged batch is forgotten", sink=sink, reason=str(error))
                self._writes.put(name, None)
                continue
            self._next = max(self._next, kept + 1)
            if sink in ledgers:
                ledgers[sink].batches[kept] = batch

    def keep(self, ledger: SinkLedger, batch: Position) -> None:
        """Store a batch with the next transaction."""
        for number, other in list(ledger.batches.items()):
            before = other.copy()
            for start, end in batch:
                other.remove(start, end)
            if other != before:
                # a message is in one batch: the one that was kept last
                self._writes.put(name_of(number, ledger.name), other.encode())
        ledger.batches[self._next] = batch
        self._writes.put(name_of(self._next, ledger.name), batch.encode())
        self._next += 1

    def forget(self, ledger: SinkLedger) -> None:
        """Delete the batches of a sink."""
        for number in ledger.batches:
            self._writes.put(name_of(number, ledger.name), None)

    def write_again(self, ledgers: Ledgers) -> None:
        """Store all batches anew."""
        for ledger in ledgers:
            for number, batch in ledger.batches.items():
                self._writes.put(name_of(number, ledger.name), batch.encode())
