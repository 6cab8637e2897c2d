"""Fixtures for tests of spools."""

from __future__ import annotations

import pytest

from edgerouter.spool.sqlite import database


@pytest.fixture
def without_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the spool no room for its journal, so that each commit goes into the database and its log."""
    monkeypatch.setattr(database, "free_bytes", lambda _: 0)
