"""Growth of a cost with the size of a thing: a curve of points, and the exponent that fits it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Expected = Literal["flat", "linear"]
ALLOWED: dict[Expected, float] = {"flat": 0.15, "linear": 1.1}
"""Largest exponent. 0.15 is a cost that rises by 40 % when the size grows tenfold."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    size: float
    cpu_us_a_message: float
    messages_a_second: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Costs at growing sizes."""

    name: str
    """File name of the plot."""
    title: str
    size: str
    """Name of the size, for the axis and the column."""
    expected: Expected
    points: Sequence[Point]

    @property
    def exponent(self) -> float:
        """Slope of the least-squares line through the logarithms: 0 is flat, 1 linear; not a number for a single size."""
        if len(self.points) < 2:
            return math.nan
        xs = [math.log(point.size) for point in self.points]
        ys = [math.log(point.cpu_us_a_message) for point in self.points]
        middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - middle_x) ** 2 for x in xs)
        return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread

    def steps(self) -> list[float | None]:
        """Return the exponent from each point's predecessor to it; `None` for the first."""
        steps: list[float | None] = [None]
        for before, after in zip(self.points, self.points[1:], strict=False):
            ratio = after.cpu_us_a_message / before.cpu_us_a_message
            steps.append(math.log(ratio) / math.log(after.size / before.size))
        return steps

    @property
    def holds(self) -> bool:
        """True if the cost grows no faster than expected."""
        return not self.exponent > ALLOWED[self.expected]

    def lines(self) -> Iterator[str]:
        """Yield the curve as a table of Markdown, with its exponent above."""
        verdict = "as expected" if self.holds else "GROWS FASTER"
        yield f"{self.title}: exponent {self.exponent:.2f}, at most {ALLOWED[self.expected]:g} ({self.expected}): {verdict}."
        yield ""
        yield f"| {self.size} | CPU, us a message | messages/s | exponent of this step |"
        yield "|---:|---:|---:|---:|"
        for point, step in zip(self.points, self.steps(), strict=True):
            shown = "" if step is None else f"{step:.2f}"
            yield f"| {point.size:,.0f} | {point.cpu_us_a_message:,.1f} | {point.messages_a_second:,.0f} | {shown} |"
