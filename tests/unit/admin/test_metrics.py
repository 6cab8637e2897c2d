"""The size of a scrape and of a status answer does not grow with what devices and services send."""

import msgspec
import pytest

from edgerouter.admin.metrics import Metrics
from edgerouter.admin.status import RouterStatus, drops
from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f600", "\x01", '"', "\n", "\\"])
async def test_metrics_and_status_stay_under_a_megabyte_whatever_topics_devices_invent(tmp_path, character):
    async with open_spool(SpoolConfig(type="memory", path=tmp_path)) as spool:
        for number in range(3000):
            spool.count_dropped(f"{number}{character * 15_000}/x", 1, "intake_full")
        status = RouterStatus(
            version="1", host="host", started_at=0.0, uptime_seconds=1.0, configuration="", configuration_error="", sources={},
            spool=spool.status, sinks={}, detached={}, drops=drops(spool), certificates=[],
        )  # fmt: skip
        assert len(Metrics(lambda: status, lambda: ()).text()) < 1_000_000
        assert len(msgspec.json.encode(status)) < 1_000_000
