"""A position with its ledger as a value of the shared state."""

from __future__ import annotations

import msgspec

from edgerouter.spool.log import ledger_record
from edgerouter.spool.log.change import Change
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.position import Position


class PositionRecord(msgspec.Struct, frozen=True, array_like=True):
    """A position as it is stored."""

    ledger: bytes
    """A sealed `SinkRecord`."""
    batches: dict[int, bytes] = {}
    owner: int = 0
    """Token of the lease under which it was written."""
    writer: str = ""
    """Process that wrote it."""
    write: int = 0
    """Number of the write by that process."""

    def opened(self, name: str) -> SinkLedger:
        """The ledger with its kept batches.

        Raises:
            ValueError: it is not what was written.
        """
        ledger = ledger_record.decode(name, self.ledger)
        ledger.batches = {number: Position.decode(batch) for number, batch in self.batches.items()}
        return ledger


_decode = msgspec.msgpack.Decoder(PositionRecord).decode


def decode(data: bytes) -> PositionRecord:
    """Read a record.

    Raises:
        ValueError: it is not one.
    """
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def encode(ledger: SinkLedger, end: int, *, owner: int = 0, writer: str = "", write: int = 0) -> bytes:
    """Return the record of a ledger.

    Args:
        ledger: with its position and kept batches.
        end: the sequence that the next message will have.
        owner: token of the lease.
        writer: names this process.
        write: number of the write by this process.
    """
    batches = {number: batch.encode() for number, batch in ledger.batches.items()}
    return msgspec.msgpack.encode(PositionRecord(ledger_record.encode(ledger, Change(), end), batches, owner, writer, write))
