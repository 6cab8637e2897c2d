"""Messages that go before their sinks have settled them: the oldest in a full spool, and damaged ones. Each is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from edgerouter.spool.log.chunk import Chunk, Codec, Damaged, Header
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.spool.sqlite.write_set import WriteSet

_LEAST: Final = 64 * 1024

log = structlog.get_logger("edgerouter.spool")
Doomed = tuple[Header, Chunk | None]


class Losses:
    """Takes chunks away from the sinks that still wanted them.

    Args:
        store: the database.
        thread: of the database.
        ledgers: of all sinks.
        writes: the write set.
        quarantined: number of chunks put aside before, and of messages in them.
        recount: called when it is not known how many messages a sink has lost.
        damaged: has the database replaced.
    """

    def __init__(
        self,
        store: Store,
        thread: DatabaseThread,
        ledgers: Ledgers,
        writes: WriteSet,
        quarantined: tuple[int, int],
        *,
        recount: Callable[[SinkLedger], None],
        damaged: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._thread = thread
        self._ledgers = ledgers
        self._writes = writes
        self._recount = recount
        self._damaged = damaged
        self._codec = Codec()
        self._evicting = False
        self._seen: set[int] = set()
        self.quarantined_chunks, self.quarantined_messages = quarantined

    def evict(self, need: int) -> None:
        """Drop the oldest messages, so that about so many bytes become free."""
        if not self._evicting:
            self._evicting = True
            self._thread.submit(partial(oldest, self._store, max(need, _LEAST)), self._evict)

    def damaged(self, headers: Sequence[Header]) -> None:
        """Put these unreadable chunks aside."""
        for header in headers:
            if self._count(header, "a damaged chunk is put aside"):
                self._writes.quarantine(header)

    def unreadable(self, headers: Sequence[Header]) -> None:
        """These chunks were left behind in a damaged database."""
        for header in headers:
            self._count(header, "a damaged chunk is left behind")

    def _count(self, header: Header, event: str) -> bool:
        """Count an unreadable chunk as lost; returns false where that was done before."""
        if header.first in self._seen:
            return False
        self._seen.add(header.first)
        self.quarantined_chunks += 1
        self.quarantined_messages += header.messages
        log.error(event, first=header.first, messages=header.messages)
        self._lose(header)
        return True

    def _evict(self, doomed: list[Doomed] | None, error: BaseException | None) -> None:
        self._evicting = False
        if doomed is None:
            log.error("the oldest messages cannot be read", reason=str(error))
            if isinstance(error, DAMAGE):
                self._damaged(error)
            return
        for header, chunk in doomed:
            if chunk is None:
                self._lose(header)
            else:
                self._ledgers.lose(chunk, "spool_full")
            self._writes.discard(header)

    def _lose(self, header: Header) -> None:
        """Count an unreadable chunk as dropped for every sink that had it pending."""
        end = header.first + max(1, header.messages)
        for ledger in self._ledgers:
            ranges = ledger.losable(header.first, end)
            if ranges:
                least, most = self._lost(ledger, header, end)
                ledger.drop(ranges, least)
                self._ledgers.drops.count(ledger.name, Counter({"": least} if least else {}), "damaged")
                self._ledgers.forget_read(ledger, header.first, end)
                if least != most:
                    self._recount(ledger)

    def _lost(self, ledger: SinkLedger, header: Header, end: int) -> tuple[int, int]:
        """Return the least and the most messages of an unreadable chunk that a sink had pending.

        They are the same when the sink wanted all of the chunk or none, or had settled none of it. Otherwise the least is counted,
        for a counter cannot be taken back, and the rest once everything else that is pending has been counted.
        """
        held = sum(b - a for a, b in ledger.losable(header.first, end)) - ledger.uncounted.count(header.first, end)
        settled = end - header.first - held
        try:
            wanted = Chunk(header.first, [], self._codec.wanted(header), header.only).wanted_by(ledger.key, ledger.since)
        except (Damaged, TypeError):
            wanted = None
        if wanted is None:
            wanted_all = ledger.filters == ("#",) and not header.only
            return (held, held) if wanted_all else (0, held)
        return max(0, wanted - settled), min(held, wanted)


def oldest(store: Store, size: int) -> list[Doomed]:
    """The oldest chunks that together have at least this many bytes."""
    doomed: list[Doomed] = []
    # those in the journal are the newest, and a full disk may have no room for them in the database
    rows = store.folded
    for header in rows.headers(0, 1 << 62, 1000) or store.rows.headers(0, 1 << 62, 1000):
        if size <= 0:
            break
        payload = rows.payload(header)
        size -= len(payload)
        try:
            doomed.append((header, store.codec.open(header, payload)))
        except Damaged:
            doomed.append((header, None))
    return doomed
