"""Restoring the ledgers of an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from edgerouter.spool.log import ledger_record
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.sqlite.write_set import LEDGER

log = structlog.get_logger("edgerouter.spool")


def restore_ledgers(values: Mapping[str, bytes], ledgers: Ledgers, *, first: int, end: int, new_key: Callable[[], int]) -> None:
    """Read the stored ledgers. A damaged one begins again with everything that is stored: better twice than never.

    Args:
        values: small values of the database, by name.
        ledgers: gets them.
        first: lowest sequence that is held.
        end: the sequence that the next message will have.
        new_key: makes a key for a damaged one.
    """
    for name, value in sorted(values.items()):
        if not name.startswith(LEDGER):
            continue
        sink = name.removeprefix(LEDGER)
        try:
            ledger = ledger_record.decode(sink, value)
        except ValueError as error:
            log.warning("a damaged position begins again at the oldest message", sink=sink, reason=str(error))
            ledger = SinkLedger(sink, new_key(), since=end, changed=True)
            ledger.position.add(first, end)
            ledger.uncounted.add((), [(first, end)])
        ledgers.restore(ledger, end)
