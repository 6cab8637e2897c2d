"""The store, in the database's thread: writes transactions into the journal or the database, and reads what was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import apsw
import msgspec
import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk, Header, NewChunk
from edgerouter.spool.log.ledger import seal
from edgerouter.spool.log.storage import Loaded
from edgerouter.spool.sqlite.database import Database
from edgerouter.spool.sqlite.db import dead_letter_rows, values
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.rows import INSERT, Rows
from edgerouter.spool.sqlite.db.transaction import Opened, Transaction, Trim, Written
from edgerouter.spool.sqlite.journal import Entry, Row
from edgerouter.spool.sqlite.journaled import Journaled
from edgerouter.spool.sqlite.recovery import salvage

log = structlog.get_logger("edgerouter.spool")


class Store(Database):
    """The database with the newest commits, which are in its journal only."""

    def __init__(self, config: SpoolConfig) -> None:
        super().__init__(config)
        self.held = False
        """Nothing is trimmed for now, while a replay looks for messages."""
        self._journaled = Journaled()

    def recover(self, error: BaseException) -> Opened:
        opened = super().recover(error)
        self._taken_over()
        return opened

    def close(self) -> None:
        try:
            self._fold()
        except (apsw.Error, *DAMAGE) as error:
            log.warning("the journal stays for the next start", reason=str(error))
        self._journal.close(remove=not self._journaled)
        super().close()

    # -- reading ----------------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> Rows:
        """All chunks; those of the journal come into the database first.

        Raises:
            apsw.Error: they cannot.
        """
        self._fold()
        return self.folded

    def messages(self, ranges: Sequence[tuple[int, int]]) -> list[Message]:
        """Return all readable messages with these sequences, in order."""
        return self.rows.messages(ranges)

    def load(self, ranges: Sequence[tuple[int, int]], key: int, since: int) -> tuple[Loaded, list[Header]]:
        """Return the first chunks of these ranges of which a sink may want something, and the headers of those that are damaged."""
        first = self._journaled.first
        if first is None:
            return self.folded.load(ranges, key, since)
        if ranges[0][0] >= first:
            return self._journaled.load(ranges, key, since, self.codec)
        return self.folded.load([(start, min(end, first)) for start, end in ranges if start < first], key, since)

    def received_at(self, sequence: int) -> int | None:
        """Return when the messages of the chunk that holds the sequence, or of the next one, were received."""
        for header, _ in self._journaled.rows:
            if header.first + header.messages > sequence >= self._journaled.rows[0][0].first:
                return header.received
        return self.folded.received_at(sequence)

    # -- writing ----------------------------------------------------------------------------------------------------------------

    def write(self, transaction: Transaction) -> Written:
        """Do all of it or, when this raises, none of it.

        Messages and positions go into the journal. The database takes over what is still needed of them with the next transaction
        that trims, or that has anything else.
        """
        if transaction.appends_only and self.salvage is None and (written := self._append(transaction)) is not None:
            return written
        try:
            return self._commit(transaction)
        except apsw.FullError:
            if self._journaled and transaction.settles_only:
                self._make_room(transaction)
            raise

    def _append(self, transaction: Transaction) -> Written | None:
        """Write into the journal; returns `None` where that has no room."""
        before = msgspec.structs.replace(self.record)
        try:
            rows, chunks = self._seal(transaction.chunks)
            put = self._put(transaction)
            entry = Entry(self.record.commits, self.record.id, rows, put, transaction.delete)
            encoded = self._journal.encode(entry)
            if encoded:
                self._journal.append(encoded)
        except BaseException:
            self.record = before
            raise
        if not encoded:
            self.record = before
            return None
        self._journaled.add(entry)
        self._high_water.write(self.record.id, self.record.next)
        return self._written(chunks, sum([len(payload) for _, payload in rows]), [])

    def _commit(self, transaction: Transaction) -> Written:
        """Write into the database, with all that is in the journal only."""
        connection, trimmer = self.connection, self.trimmer
        before = msgspec.structs.replace(self.record)
        retained = trimmer.retained
        trimmer.deleted = 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            self.take_over(transaction.trims)
            rows, chunks = self._seal(transaction.chunks)
            for header, payload in rows:
                connection.execute(INSERT, (*header, payload))
                self.packer.added(header)
            self._change(transaction)
            leftover = [] if self.held else trimmer.trim(transaction.trims)
            if not self.held:
                self.packer.pack(self.record.next, list(transaction.receipts.values()))
            if trimmer.retained and not self.held:
                trimmer.trim_retained(transaction.release)
            self.record.messages -= trimmer.deleted
            values.write(connection, self._put(transaction), transaction.delete)
            connection.execute("COMMIT")
        except BaseException:
            self.record = before
            trimmer.retained = retained
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._taken_over()
        if self.record.next != before.next:
            self._high_water.write(self.record.id, self.record.next)
        self._checkpoint.run()
        self._first, self._usage = self.folded.first(self.record.next), self.usage()
        return self._written(chunks, sum([len(payload) for _, payload in rows]), leftover)

    def _change(self, transaction: Transaction) -> None:
        """Do within a transaction what is neither a new message, a small value nor a trim."""
        connection, trimmer = self.connection, self.trimmer
        for header in transaction.quarantine:
            trimmer.quarantine(header)
        for header in transaction.discard:
            trimmer.discard(header)
        for retained_again in transaction.reuse:
            trimmer.use_again(retained_again)
        if transaction.dead_letters:
            dead_letter_rows.insert(connection, self.record.letter, transaction.dead_letters)
            self.record.letter += len(transaction.dead_letters)
        if transaction.replayed or transaction.thrown_away:
            dead_letter_rows.remove(connection, (place[0] for place in transaction.replayed + transaction.thrown_away))

    def _written(self, chunks: list[Chunk], stored: int, leftover: list[tuple[int, int]]) -> Written:
        used, free = self._usage
        return Written(
            chunks,
            stored,
            leftover,
            used + self._journaled.bytes,
            free,
            self._first,
            self.record.messages,
            self.trimmer.retained,
            self.held,
            self._checkpoint.stuck,
            self._journal.crowded,
        )

    def _put(self, transaction: Transaction) -> dict[str, bytes]:
        """Return the small values that a transaction stores, with the record."""
        record = self.record
        record.commits += 1
        record.receipts = transaction.receipts
        record.acknowledged = min([first for first, _ in transaction.receipts.values()], default=record.next)
        return {**transaction.put, "spool": seal(msgspec.msgpack.encode(record))}

    def _fold(self) -> None:
        """Bring into the database what is in the journal only."""
        if self._journaled:
            self._commit(Transaction(receipts=self.record.receipts or {}))

    def take_over(self, trims: Sequence[Trim]) -> None:
        """Bring into the database, within a transaction, what the journal has and a sink needs."""
        keep = self.held or self._config.retain.age or self._config.retain.bytes
        dropped = self._journaled.fold(
            self.connection, lambda header: not keep and self.trimmer.unneeded(trims, header), self.packer.added
        )
        self.trimmer.deleted += dropped

    def _taken_over(self) -> None:
        """The database has everything."""
        self._journaled.clear()
        self._journal.taken_over()

    def _make_room(self, transaction: Transaction) -> None:
        """Delete from a database that has no room for the journal what the transaction wanted deleted.

        What it settles is written into the journal before, where the last quarter is for this.
        """
        self._journal.give_room()
        before = msgspec.structs.replace(self.record)
        entry = Entry(before.commits + 1, before.id, (), self._put(transaction), transaction.delete)
        encoded = self._journal.encode(entry, last=True)
        try:
            if not encoded:
                raise apsw.FullError
            self._journal.append(encoded)
        except apsw.Error:
            self.record = before
            return
        self._journaled.add(entry)
        self.trimmer.deleted = 0
        with suppress(apsw.Error), self.connection:
            for header in transaction.discard:
                self.trimmer.discard(header)
            if not self.held:
                self.trimmer.trim(transaction.trims)
            self.record.messages -= self.trimmer.deleted

    def hold(self, held: bool) -> None:
        """Trim nothing until this is taken back."""
        self.held = held

    def salvage_some(self) -> salvage.Progress:
        """Bring over some more of a damaged database."""
        assert self.salvage is not None, "there is something to salvage"
        connection = self.connection
        before = msgspec.structs.replace(self.record)
        connection.execute("BEGIN IMMEDIATE")
        try:
            self.take_over(())
            progress = self.salvage.step(connection)
            self.record.messages += progress.messages
            self.record.commits += 1
            put = {"spool": seal(msgspec.msgpack.encode(self.record))}
            if not progress.done:
                put[salvage.STATE] = self.salvage.state(progress)
            values.write(connection, put, [salvage.STATE])
            connection.execute("COMMIT")
        except BaseException:
            self.record = before
            self.salvage.failed()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._taken_over()
        self.salvage.committed(progress)
        self._checkpoint.run()
        if progress.done:
            self.salvage.close(done=True)
            self.salvage = None
        return progress

    def _seal(self, new: Iterable[NewChunk]) -> tuple[list[Row], list[Chunk]]:
        record = self.record
        rows: list[Row] = []
        chunks = []
        for each in new:
            header, payload, chunk = self.codec.seal(each, record.id, record.next, record.received)
            rows.append((header, payload))
            record.next = chunk.end
            record.messages += header.messages
            if not each.only:
                record.received = chunk.messages[-1].received_at
            chunks.append(chunk)
        return rows, chunks
