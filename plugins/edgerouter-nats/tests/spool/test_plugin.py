"""The spool on JetStream keeps the promises of every spool, opened by its entry point.

Covers also: edgerouter_nats.spool.config, edgerouter_nats.spool.operator, edgerouter_nats.spool.sharing,
edgerouter_nats.spool.shards, edgerouter_nats.spool.letters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.spool.contract import Spool
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from support.nats.cluster import NatsServer
from support.spool_contract import DurableSpoolContract, Opened

_numbers: Iterator[int] = iter(range(1000))


class TestJetStream(DurableSpoolContract):
    @pytest.fixture
    def opened(self, nats: NatsServer, tmp_path: Path) -> Opened:
        stream = f"CONTRACT-{next(_numbers)}"

        def opened_with(**settings: object) -> AbstractAsyncContextManager[Spool]:
            config = JetStreamSpoolConfig.model_validate(
                {
                    "servers": [nats.url],
                    "monitor": [f"http://127.0.0.1:{nats.monitor_port}"],
                    "stream": stream,
                    "path": tmp_path,
                    "commit_interval": 0,
                    "max_bytes": "8MiB",
                    "lease": 2,
                    **settings,
                }
            )
            return plugins.open_spool(config, "box")

        return opened_with
