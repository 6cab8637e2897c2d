"""The write set: small changes that go into the next transaction, beside messages, dead letters and ledgers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgerouter.spool.log.chunk import Header
from edgerouter.spool.log.ledger import seal
from edgerouter.spool.sqlite.db.transaction import Transaction

LEDGER: Final = "sink/"
"""Begins the names of stored ledgers."""


class WriteSet:
    """Collects changes until a transaction takes them, and takes them back when it fails.

    Args:
        touch: asks for a commit.
    """

    def __init__(self, touch: Callable[[], None]) -> None:
        self.touch = touch
        self._next = Transaction()

    def put(self, name: str, value: bytes | None) -> None:
        """Store a small value, or delete it."""
        if value is None:
            self._next.put.pop(name, None)
            self._next.delete.append(name)
        else:
            self._next.put[name] = seal(value)
        self.touch()

    def quarantine(self, header: Header) -> None:
        """Move a damaged chunk out of the log."""
        self._next.quarantine.append(header)
        self.touch()

    def discard(self, header: Header) -> None:
        """Delete a chunk, though a sink may want it."""
        self._next.discard.append(header)
        self.touch()

    def reuse(self, first: int) -> None:
        """Keep a chunk no longer only for replay: messages in it are pending again."""
        self._next.reuse.append(first)
        self.touch()

    def release(self, size: int) -> None:
        """Delete so many bytes of chunks that are kept only for replay."""
        self._next.release = size
        self.touch()

    def take(self) -> Transaction:
        """Begin a transaction with everything collected."""
        transaction, self._next = self._next, Transaction()
        return transaction

    def take_back(self, failed: Transaction) -> None:
        """Collect again what is not on disk; ledgers are encoded anew, since they go on changing."""
        following = self._next
        following.put = {name: value for name, value in failed.put.items() if not name.startswith(LEDGER)} | following.put
        following.delete = failed.delete + following.delete
        following.quarantine = failed.quarantine + following.quarantine
        following.discard = failed.discard + following.discard
        following.reuse = failed.reuse + following.reuse
