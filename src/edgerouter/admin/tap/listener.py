"""Takes samples of the messages that pass, for one listener: bounded in rate, number and bytes whatever passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from edgerouter.config.admin import TapConfig
from edgerouter.message import Message
from edgerouter.pipeline.tap import Stored
from edgerouter.topics import Matcher

MOST_LOOKED_AT: Final = 2000
"""Messages of one list; those behind count as missed."""
MOST_WAITING: Final = 200
"""Samples that wait for a client that reads slowly."""
MOST_WAITING_BYTES: Final = 256 * 1024
"""Bytes of those samples."""
MARGIN: Final = 256
"""Bytes taken beyond a preview: a secret at its end is recognised while it is whole."""
MOST_REDACTED_BYTES: Final = 64 * 1024
"""Largest payload that is searched for fields to be redacted."""
MOST_TOPIC: Final = 1024
"""Characters of a topic that are shown."""
MOST_PROPERTIES: Final = 16
"""User properties that are shown."""
MOST_PROPERTY: Final = 256
"""Characters of the name, and of the value, of a user property that are shown."""
REPORT_SECONDS: Final = 1.0
"""Between a message that was left out and the report of it, where no sample follows."""


class Sample(NamedTuple):
    """A message that was taken, cut where it is longer than what is shown of it."""

    message: Message
    payload: bytes
    """Its beginning; the whole where fields are redacted; empty where it is not shown."""
    size: int
    """Bytes of the whole payload."""
    properties: tuple[tuple[str, str], ...]
    left_out: int
    """User properties beyond those."""
    hidden: bool
    """`admin.tap.redact.topics` matches it."""


class Listener:
    """Samples for one client.

    Args:
        topic: MQTT filter of what it wants.
        config: bounds.
        news: called when there is something to send.
        clock: monotonic seconds.
    """

    def __init__(self, topic: str, config: TapConfig, news: Callable[[], object], clock: Callable[[], float]) -> None:
        self._matches = Matcher([topic])
        self._hidden = Matcher(config.redact.topics)
        self._redacts = bool(config.redact.fields)
        self._most_bytes = MOST_REDACTED_BYTES if self._redacts else config.preview_bytes + MARGIN
        self._rate = float(config.max_messages_per_second)
        self._tokens = max(self._rate, 1.0)
        self._clock = clock
        self._at = clock()
        self._news = news
        self._report: asyncio.TimerHandle | None = None
        self._waiting: list[Sample] = []
        self._waiting_bytes = 0
        self._missed = 0
        self.shown = 0
        """Messages taken since the start."""
        self.missed = 0
        """Messages that match, or were not looked at, and were left out since the start."""

    def look(self, messages: Sequence[Message], stored: Stored) -> None:
        """Take what matches as far as the bounds allow, and count the rest."""
        wanted = [message for message in islice(messages, MOST_LOOKED_AT) if self._matches(message.topic)]
        missed = len(wanted) + max(0, len(messages) - MOST_LOOKED_AT)
        for message in wanted[: self._room()]:
            if not self._take(message, stored):
                break
            missed -= 1
        if missed:
            self._missed += missed
            self.missed += missed
            if self._report is None:
                self._report = asyncio.get_running_loop().call_later(REPORT_SECONDS, self._news)

    def _room(self) -> int:
        now = self._clock()
        self._tokens = min(max(self._rate, 1.0), self._tokens + (now - self._at) * self._rate)
        self._at = now
        return min(int(self._tokens), MOST_WAITING - len(self._waiting))

    def _take(self, message: Message, stored: Stored) -> bool:
        # a step may have changed the topic
        hidden = any(self._hidden(each.topic) for each in (message, *stored(message)))
        sample = self._sample(message, hidden=hidden)
        size = len(sample.payload) + len(sample.message.topic) + sum(len(name) + len(text) for name, text in sample.properties)
        if self._waiting_bytes + size > MOST_WAITING_BYTES:
            return False
        self._tokens -= 1
        self._waiting_bytes += size
        self._waiting.append(sample)
        self.shown += 1
        self._news()
        return True

    def _sample(self, message: Message, *, hidden: bool) -> Sample:
        """Return what can be shown of a message: its whole payload may be large, and is not kept alive."""
        user = message.properties.user if message.properties is not None else ()
        size = len(message.payload)
        unseen = hidden or (self._redacts and size > MOST_REDACTED_BYTES)
        payload = b"" if unseen else message.payload[: self._most_bytes]
        head = Message(
            message.topic[: MOST_TOPIC + MARGIN], b"", message.received_at, message.qos, message.retained,
            spool=message.spool, sequence=message.sequence, source=message.source, part=message.part,
        )  # fmt: skip
        most = MOST_PROPERTY + MARGIN
        pairs = tuple([(name[:most], text[:most]) for name, text in user[: 0 if hidden else MOST_PROPERTIES]])
        return Sample(head, payload, size, pairs, len(user) - len(pairs), hidden)

    def take(self) -> tuple[list[Sample], int]:
        """Return the samples that wait, and the number of messages that were left out since the last call."""
        found, missed = self._waiting, self._missed
        self._waiting, self._waiting_bytes, self._missed = [], 0, 0
        self.close()
        return found, missed

    def close(self) -> None:
        """Report nothing more."""
        if self._report is not None:
            self._report.cancel()
            self._report = None
