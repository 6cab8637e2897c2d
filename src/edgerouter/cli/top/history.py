"""Numbers of a router over the last minutes: rates, and the time until its spool is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

RATE_SECONDS: Final = 5.0
"""Rates are means over this time."""
_SPOOL_SAMPLES: Final = 300
_MOST_SAMPLES: Final = 60


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    numbers: Mapping[tuple[str, str], int]
    lags: tuple[int, float]
    """Number of samples of the event loop's lag, and their sum in seconds."""


class History:
    """Samples of one run of a router; another run begins anew."""

    def __init__(self) -> None:
        self._run: object = None
        self._samples: deque[_Sample] = deque(maxlen=_MOST_SAMPLES)
        self._spool: deque[tuple[float, int]] = deque(maxlen=_SPOOL_SAMPLES)
        self.restarted = False
        """The router has been started anew since the first sample."""

    def add(self, at: float, status: Mapping[str, Any]) -> None:
        """Keep the numbers of a status.

        Args:
            at: monotonic seconds.
            status: of `/api/status`.
        """
        run = status["started_at"]
        if self._run is not None and self._run != run:
            self.restarted = True
            self._samples.clear()
            self._spool.clear()
        self._run = run
        numbers = {("source", name): source["messages"] for name, source in status["sources"].items()}
        numbers |= {("sink", name): sink["delivered"] for name, sink in status["sinks"].items()}
        lags = status["event_loop"]["lags"]
        self._samples.append(_Sample(at, numbers, (sum(lags["counts"]), lags["total"])))
        while len(self._samples) > 2 and at - self._samples[0].at > RATE_SECONDS + 0.5:
            self._samples.popleft()
        self._spool.append((at, status["spool"]["bytes"]))

    def rate(self, kind: str, name: str) -> float | None:
        """Return the messages a second of a `source` or `sink`; `None` while it is unknown."""
        if not self._samples:
            return None
        first, last = self._samples[0], self._samples[-1]
        before, now = first.numbers.get((kind, name)), last.numbers.get((kind, name))
        if before is None or now is None or last.at <= first.at:
            return None
        return max(0.0, (now - before) / (last.at - first.at))

    def total(self, kind: str) -> float | None:
        """Return the sum of the rates of all sources or sinks."""
        names = [name for each, name in self._samples[-1].numbers if each == kind] if self._samples else []
        rates = [rate for name in names if (rate := self.rate(kind, name)) is not None]
        return sum(rates) if rates else None

    @property
    def lag(self) -> float | None:
        """Mean lag of the event loop in seconds; `None` where it was not busy."""
        if not self._samples:
            return None
        (before, old), (now, new) = self._samples[0].lags, self._samples[-1].lags
        return (new - old) / (now - before) if now > before else None

    def seconds_until_full(self, spool: Mapping[str, Any]) -> float | None:
        """Return the time until the spool is full at the rate of the last minutes; `None` where it does not grow."""
        (began, before), (ended, now) = (self._spool[0], self._spool[-1]) if self._spool else ((0.0, 0), (0.0, 0))
        if ended <= began or now - before < ended - began:  # less than a byte a second
            return None
        left: float = spool["max_bytes"] - now
        if spool["free_bytes"] is not None:
            left = min(left, spool["free_bytes"])
        return max(0.0, left) * (ended - began) / (now - before)
