"""A database of a spool that fails on request."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter.spool.sqlite.store import Store


class Failing:
    """A database that fails on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: BaseException | None = None
        self.only_appends = False
        self.attempts = 0
        write = Store.write

        def failing(store: Store, transaction: Any) -> Any:
            self.attempts += 1
            if self.error is not None and (transaction.chunks or not self.only_appends):
                raise self.error
            return write(store, transaction)

        monkeypatch.setattr(Store, "write", failing)
