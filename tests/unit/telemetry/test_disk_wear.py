"""Bytes written and the forecast of a year follow what the kernel counts."""

from pathlib import Path

import pytest

from edgerouter.telemetry.disk_wear import DiskMeter, DiskWear

HOUR = 3600.0
YEAR = 365.25 * 24


class Disk:
    """A kernel's count, and a clock."""

    def __init__(self) -> None:
        self.now, self.bytes = 1000.0, 500

    def meter(self) -> DiskMeter:
        return DiskMeter(lambda: self.bytes, lambda: self.now)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_the_forecast_is_the_rate_of_the_last_hour(disk: Disk) -> None:
    meter = disk.meter()
    for _ in range(10 * 60):
        disk.now += 60
        disk.bytes += 1000
        found = meter.status
    assert found.written_bytes == 600_000
    assert found.bytes_a_year == pytest.approx(60_000 * YEAR)
    for _ in range(2 * 60):
        disk.now += 60
        found = meter.status
    assert found.bytes_a_year == 0.0
    assert found.written_bytes == 600_000


def test_there_is_no_forecast_in_the_first_minute(disk: Disk) -> None:
    meter = disk.meter()
    disk.now, disk.bytes = disk.now + 59, disk.bytes + 10**9
    assert meter.status == DiskWear(written_bytes=10**9)


def test_a_status_after_days_forecasts_from_the_time_between(disk: Disk) -> None:
    meter = disk.meter()
    disk.now, disk.bytes = disk.now + 100 * HOUR, disk.bytes + 100
    assert meter.status.bytes_a_year == pytest.approx(YEAR)


def test_a_kernel_that_does_not_count_gives_no_figure(disk: Disk) -> None:
    assert DiskMeter(lambda: None, lambda: disk.now).status == DiskWear()


def test_what_this_process_writes_is_counted(tmp_path: Path) -> None:
    meter = DiskMeter()
    before = meter.status.written_bytes
    if before is None:
        pytest.skip("this kernel does not count what a process writes")
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    written = meter.status.written_bytes
    assert written is not None
    assert written >= before  # a file system in memory counts nothing
