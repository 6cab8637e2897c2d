"""The size of a scrape and of a status answer does not grow with what devices and services send."""

from pathlib import Path

import msgspec
import pytest

from edgerouter.admin.metrics import Metrics
from edgerouter.admin.status import drops
from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from support.status import router_status


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f600", "\x01", '"', "\n", "\\"])
async def test_metrics_and_status_stay_under_a_megabyte_whatever_topics_devices_invent(tmp_path: Path, character: str) -> None:
    async with open_spool(SpoolConfig(type="memory", path=tmp_path)) as spool:
        for number in range(3000):
            spool.count_dropped(f"{number}{character * 15_000}/x", 1, "intake_full")
        status = router_status(spool=spool.status, drops=drops(spool))
        assert len(Metrics(lambda: status, lambda: ()).text()) < 1_000_000
        assert len(msgspec.json.encode(status)) < 1_000_000
