"""Counts messages that a source cannot keep, by topic and reason, and logs them at most once a minute."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from edgerouter.source import Dropped
from edgerouter.topics import first_level

INTAKE_FULL: Final = "intake_full"
"""QoS 0, and no capacity left."""
TOO_LARGE: Final = "too_large"
"""Larger than `max_message_bytes`."""
CUT: Final = "properties_cut"
"""Kept without the user properties beyond the bounds; logged, not counted as dropped."""

_ADVICE: Final = {
    INTAKE_FULL: "messages of QoS 0 dropped: they come faster than they can be stored",
    TOO_LARGE: "messages dropped and acknowledged: they are larger than `max_message_bytes`",
    CUT: "messages stored without some of their properties: these exceed `max_user_properties` or `max_user_property_bytes`",
}
_TOPICS_COUNTED: Final = 1000
"""First topic levels counted separately before the counts are passed on."""
_LOG_SECONDS: Final = 60.0


class Drops:
    """Drops since the last report.

    Args:
        dropped: receives the counts.
    """

    def __init__(self, dropped: Dropped) -> None:
        self.by_topic: Counter[tuple[str, str]] = Counter()
        self._dropped = dropped
        self._unlogged: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._logged_at = -_LOG_SECONDS

    def count(self, topic: str, reason: str) -> None:
        """Count one message."""
        self.by_topic[first_level(topic), reason] += 1
        if len(self.by_topic) >= _TOPICS_COUNTED:
            self.report()

    def report(self) -> None:
        """Pass on the counts."""
        if self.by_topic:
            counted, self.by_topic = self.by_topic, Counter()
            for (topic, reason), messages in counted.items():
                self._unlogged[reason] += messages
                self._examples[reason] = topic
                if reason != CUT:
                    self._dropped(topic, messages, reason)

    def log(self, log: Any) -> None:
        """Log the counts since the last line, at most once a minute."""
        if self._unlogged and time.monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = time.monotonic()
            for reason, messages in self._unlogged.items():
                log.warning(_ADVICE[reason], reason=reason, messages=messages, topic=self._examples[reason])
            self._unlogged.clear()
