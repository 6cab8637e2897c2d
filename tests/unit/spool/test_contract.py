"""The built-in spools keep the promises of the contract.

Covers: tests/support/spool_contract.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter.spool import open_spool
from support.dead_letter_contract import Opened
from support.durable_spool_contract import DurableSpoolContract
from support.spool_contract import SpoolContract
from support.spools import sqlite


class TestSqlite(DurableSpoolContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        return lambda **settings: open_spool(sqlite(tmp_path, **settings))


class TestMemory(SpoolContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        return lambda **settings: open_spool(sqlite(tmp_path, type="memory", **settings))
