"""Growth is fitted and drawn exactly, and each thing that can grow is measured with real parts."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from benchmarks import scale
from benchmarks.growth import Curve, Expected, Point
from benchmarks.scale import as_markdown, backlogs, many_sinks, measure, measurements, parser, payloads, powers
from benchmarks.svg import HEIGHT, WIDTH, plot

SVG = "{http://www.w3.org/2000/svg}"


def curve(exponent: float, expected: Expected = "flat") -> Curve:
    """A cost of 3 us that grows by a power of the size."""
    points = [Point(size, 3 * (size / 10) ** exponent, 1000) for size in (10, 100, 1000, 100_000)]
    return Curve("things", "Things", "things", expected, points)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 0.3, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    grown = curve(exponent)

    assert grown.exponent == pytest.approx(exponent)
    assert grown.steps() == [None, *[pytest.approx(exponent)] * 3]


@pytest.mark.parametrize(
    ("exponent", "expected", "holds"), [(0.1, "flat", True), (0.3, "flat", False), (1.0, "linear", True), (1.3, "linear", False)]
)
def test_a_cost_that_grows_faster_than_expected_is_named_first(exponent: float, expected: Expected, *, holds: bool) -> None:
    text = as_markdown([curve(exponent, expected)], plots="plots")

    assert ("GROWS FASTER" not in text) is holds
    assert text.splitlines()[2].startswith(f"Grows faster than expected: {'nothing' if holds else 'Things'}")
    assert "![Things](plots/things.svg)" in text


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0])
def test_a_plot_is_well_formed_and_holds_every_point(exponent: float) -> None:
    drawn = ET.fromstring(plot(curve(exponent)))

    places = [(float(circle.get("cx", "")), float(circle.get("cy", ""))) for circle in drawn.iter(f"{SVG}circle")]
    assert len(places) == 4
    assert all(0 < left < WIDTH and 0 < top < HEIGHT for left, top in places)
    assert {"10", "100", "100,000"} <= {text.text for text in drawn.iter(f"{SVG}text")}


def test_sizes_are_powers_of_ten_up_to_the_one_given() -> None:
    assert powers(4, 10**6) == [10**4, 10**5, 10**6]
    assert powers(1, 1 << 20) == [10, 100, 1000, 10**4, 10**5, 1 << 20]


def test_only_what_was_asked_for_is_measured() -> None:
    assert list(measurements(parser().parse_args(["--only", "topics"]))) == ["topics"]
    assert list(measurements(parser().parse_args([]))) == ["backlog", "topics", "sinks", "payload", "steps"]


async def test_a_measurement_that_fails_is_reported_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> list[Curve]:
        raise TimeoutError("5 of 7 messages arrived")

    async def succeed() -> list[Curve]:
        return [curve(0)]

    monkeypatch.setattr(scale, "measurements", lambda _: {"sinks": fail, "topics": succeed})

    assert len(await measure(argparse.Namespace())) == 1
    assert "sinks: failed: 5 of 7 messages arrived" in capsys.readouterr().err


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "MESSAGES", 400)
    monkeypatch.setattr(scale, "ROUNDS", 1)


@pytest.mark.usefixtures("_short")
async def test_a_backlog_is_measured_while_it_waits_and_while_it_drains(tmp_path: Path) -> None:
    live, drained = await backlogs([1000], tmp_path)

    assert [point.size for point in live.points] == [1000]
    assert [point.size for point in drained.points] == [1400]
    assert "exponent nan" in as_markdown([drained], plots=None), "one size has no growth"
    assert plot(drained)
    assert not list(tmp_path.iterdir()), "the workspace is removed"


@pytest.mark.usefixtures("_short")
async def test_sinks_and_payloads_are_measured(tmp_path: Path) -> None:
    every, shared = await many_sinks([2], tmp_path)
    [payload] = await payloads([10], tmp_path)

    for measured in (every, shared, payload):
        [point] = measured.points
        assert point.messages_a_second > 0
