"""Plots of curves as SVG, both axes logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.growth import Curve

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 40, 40, 50
STYLE = (
    "text{font:13px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"
    ".expected{stroke:#999;stroke-dasharray:6 4}.measured{stroke:#06c;stroke-width:2;fill:none}circle{fill:#06c}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """Whole decades on a stretch of pixels."""

    first: int
    last: int
    start: float
    end: float

    @classmethod
    def around(cls, values: list[float], start: float, end: float) -> Axis:
        """Return the decades that hold all values, at least one."""
        first = math.floor(math.log10(min(values)) + 1e-9)
        last = math.ceil(math.log10(max(values)) - 1e-9)
        return cls(first, max(last, first + 1), start, end)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (math.log10(value) - self.first) / (self.last - self.first) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the pixel and the label of each decade."""
        return [(self.at(10.0**power), f"{10**power:,}") for power in range(self.first, self.last + 1)]


def _expected(curve: Curve) -> list[float]:
    """Return the costs of the expected growth, from the first point on."""
    first = curve.points[0]
    power = 1 if curve.expected == "linear" else 0
    return [first.cpu_us_a_message * (point.size / first.size) ** power for point in curve.points]


def plot(curve: Curve) -> str:
    """Draw the measured points, the line through them, and the expected growth dashed."""
    expected = _expected(curve)
    costs = [point.cpu_us_a_message for point in curve.points]
    x = Axis.around([point.size for point in curve.points], LEFT, WIDTH - RIGHT)
    y = Axis.around(costs + expected[:1], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{STYLE}</style>']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
    parts.append(f'<text class="title" x="{LEFT}" y="24">{curve.title}: CPU, us a message (exponent {curve.exponent:.2f})</text>')
    for at, label in x.ticks():
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    for at, label in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{curve.size}</text>')
    places = [(x.at(point.size), y.at(point.cpu_us_a_message)) for point in curve.points]
    dashed = " ".join(f"{x.at(point.size):.1f},{y.at(cost):.1f}" for point, cost in zip(curve.points, expected, strict=True))
    parts.append(f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT - TOP - BOTTOM}"/></clipPath>')
    parts.append(f'<polyline class="expected" fill="none" clip-path="url(#inside)" points="{dashed}"/>')
    parts.append(f'<polyline class="measured" points="{" ".join(f"{left:.1f},{top:.1f}" for left, top in places)}"/>')
    parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4"/>' for left, top in places]
    return "\n".join([*parts, "</svg>"]) + "\n"
