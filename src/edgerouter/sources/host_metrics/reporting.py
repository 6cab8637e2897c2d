"""Decides which samples are published: all, those that changed, or those above a threshold."""

from __future__ import annotations

from edgerouter.sources.host_metrics.config import HostMetricsConfig
from edgerouter.sources.host_metrics.sample import Sample


class Reporting:
    """Remembers the last sample published.

    Args:
        config: of the source.
    """

    def __init__(self, config: HostMetricsConfig) -> None:
        self._config = config
        self._thresholds: dict[str, float] = config.thresholds.model_dump(exclude_none=True)
        self._levels: dict[str, float] | None = None
        self._published = 0.0
        self._was_above = False

    def above(self, sample: Sample) -> tuple[str, ...]:
        """Return the names of the levels that are at or above their threshold."""
        return tuple(
            name
            for name, value in sample.levels().items()
            if (most := self._thresholds.get(name.partition(":")[0])) is not None and value >= most
        )

    def due(self, sample: Sample, now: float) -> bool:
        """Return true if the sample is to be published, and remember it then.

        Args:
            sample: with `above` filled in.
            now: monotonic seconds.
        """
        if not self._is_due(sample, now):
            return False
        self._levels, self._published, self._was_above = sample.levels(), now, bool(sample.above)
        return True

    def _is_due(self, sample: Sample, now: float) -> bool:
        config = self._config
        if config.report == "always":
            return True
        if config.heartbeat is not None and (self._levels is None or now - self._published >= config.heartbeat):
            return True
        if config.report == "above":
            return bool(sample.above) or self._was_above
        last, levels = self._levels, sample.levels()
        if last is None or last.keys() != levels.keys():
            return True
        return any(abs(value - last[name]) >= config.change for name, value in levels.items())
