"""Readings of the demo's devices."""

from __future__ import annotations

from pathlib import Path

from edgerouter.demo.signals import CpuTemperature, Door, Walk, signals


def test_a_machine_that_reports_its_temperature_is_read(tmp_path: Path) -> None:
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "temp").write_text("48312\n")
    cpu = CpuTemperature(tmp_path)
    assert not cpu.simulated
    assert cpu.read() == ({"value": 48.312, "unit": "°C", "simulated": False}, "")


def test_a_machine_that_reports_none_is_simulated_and_says_so(tmp_path: Path) -> None:
    cpu = CpuTemperature(tmp_path)
    assert cpu.simulated
    assert cpu.read()[0]["simulated"] is True


def test_a_sensor_that_fails_later_is_simulated_and_says_so(tmp_path: Path) -> None:
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "temp").write_text("48312\n")
    cpu = CpuTemperature(tmp_path)
    (zone / "temp").write_text("")
    assert cpu.read()[0]["simulated"] is True


def test_a_value_over_its_bound_alerts_once() -> None:
    walk = Walk("temperature", "°C", middle=100, step=0.0, alert_above=25)
    assert [walk.read()[1] for _ in range(3)] == ["temperature above 25 °C", "", ""]


def test_a_door_is_open_or_closed() -> None:
    door = Door()
    assert {door.read()[0]["open"] for _ in range(1000)} == {True, False}


def test_every_device_has_its_own_name() -> None:
    devices = signals(20)
    assert len({name for name, _ in devices}) == 20
    assert [name for name, signal in devices if isinstance(signal, CpuTemperature)] == ["gateway"]
