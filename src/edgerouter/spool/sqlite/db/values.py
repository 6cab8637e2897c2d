"""The table of small values: ledgers, kept batches, and the record of the spool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apsw
import msgspec

from edgerouter.spool.log.ledger import unseal
from edgerouter.spool.sqlite.db.transaction import SpoolRecord


def write(connection: apsw.Connection, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None:
    """Delete the values of these names, then store the others, within a transaction."""
    connection.executemany("DELETE FROM state WHERE name = ?", [(name,) for name in delete])
    connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(put.items()))


def record_in(value: object) -> SpoolRecord | None:
    """Return the record that the value of the name `spool` holds; `None` where it is missing or damaged."""
    try:
        return msgspec.msgpack.decode(unseal(value), type=SpoolRecord) if isinstance(value, bytes) else None
    except ValueError:
        return None
