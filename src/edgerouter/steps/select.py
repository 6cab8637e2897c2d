"""Steps that let through some messages of each topic or key: `throttle`, `sample` and `on_change`."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import Field, model_validator

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.step import Step, StepConfig, StepContext
from edgerouter.steps.keys import TOPIC, Known, Numbers, key_function
from edgerouter.steps.paths import FieldPath, getter, parse_path, without
from edgerouter.topic_cache import weight
from edgerouter.units import ByteSize, Duration

_NUMBER_BYTES: Final = 32


class KeyedConfig(StepConfig):
    """Base of steps that keep something for each key."""

    by: tuple[str, ...] = Field(default=(TOPIC,), min_length=1, max_length=10, examples=[["topic", "device"]])
    """The key: `topic`, or paths of members of the payload."""
    max_bytes: ByteSize = Field(default=4 * 1024**2, ge=1024)
    """Most memory for what is kept; beyond it the keys that were quiet longest are forgotten, and start again."""

    @model_validator(mode="after")
    def _has_paths(self) -> Self:
        for text in self.by:
            if text != TOPIC:
                parse_path(text)
        return self


class ThrottleConfig(KeyedConfig):
    """Lets through the first message of each key in every interval of the time of reception; the rest is filtered."""

    every: Duration = Field(gt=0, examples=["10s"])
    """Least time between two messages of a key."""


class ThrottleStep(Step[ThrottleConfig]):
    """Keeps the time of the last message let through; after a restart each key begins anew."""

    selects = True
    stateful = True

    def __init__(self, config: ThrottleConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self.reads = config.by != (TOPIC,)
        self._key = key_function(config.by)
        self._every = int(config.every * 1e9)
        self._last = Numbers(config.max_bytes)

    def apply(self, items: list[Item]) -> list[Item]:
        if self.reads:
            return self.each(items, self._is_due)
        last, every, out = self._last.get, self._every, []
        for item in items:
            message = item.message
            topic, now = message.topic, message.received_at
            before = last(topic)
            # a clock that was set back does not silence a key
            if before is None or not 0 <= now - before < every:
                self._last.keep(topic, now)
                out.append(item)
        return out

    def _is_due(self, item: Item) -> bool:
        key, now = self._key(item), item.message.received_at
        before = self._last.get(key)
        due = before is None or not 0 <= now - before < self._every
        if due:
            self._last.keep(key, now)
        return due


class SampleConfig(KeyedConfig):
    """Lets through one message of each key in so many; the rest is filtered."""

    one_in: int = Field(ge=2, examples=[10])
    """The first of so many messages is let through, then the first of the next."""


class SampleStep(Step[SampleConfig]):
    """Counts the messages of each key; after a restart each key begins anew."""

    selects = True
    stateful = True

    def __init__(self, config: SampleConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self.reads = config.by != (TOPIC,)
        self._key = key_function(config.by)
        self._seen = Numbers(config.max_bytes)

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._is_first)

    def _is_first(self, item: Item) -> bool:
        key = self._key(item)
        seen = self._seen.get(key, 0)
        self._seen.keep(key, (seen + 1) % self.config.one_in)
        return not seen


class OnChangeConfig(KeyedConfig):
    """Lets through a message that differs from the last one let through of its key: report by exception."""

    fields: tuple[FieldPath, ...] = Field(default=(), max_length=100, examples=[["temperature"]])
    """Members that are compared; without any, the whole payload, which need not be JSON."""
    ignore: tuple[FieldPath, ...] = Field(default=(), max_length=100, examples=[["timestamp"]])
    """Members of the whole payload that do not count, such as a counter or a time."""
    deadband: float = Field(default=0.0, ge=0)
    """Numbers that differ by at most this count as equal."""
    deadband_percent: float = Field(default=0.0, ge=0)
    """Numbers that differ by at most this part of the earlier one count as equal, in percent."""
    heartbeat: Duration | None = Field(default=None, examples=["10m"])
    """Let through an equal message after this time."""

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.fields and self.ignore:
            raise ValueError("`fields` and `ignore` exclude each other")
        return self


class OnChangeStep(Step[OnChangeConfig]):
    """Keeps what was let through last of each key; after a restart each key begins anew."""

    selects = True
    stateful = True

    def __init__(self, config: OnChangeConfig, context: StepContext) -> None:
        super().__init__(config, context)
        deadband = bool(config.deadband or config.deadband_percent)
        self._by_document = bool(config.fields or config.ignore or deadband)
        self.reads = self._by_document or config.by != (TOPIC,)
        self._key = key_function(config.by)
        self._fields = [getter(parse_path(text)) for text in config.fields]
        self._ignored = [parse_path(text) for text in config.ignore]
        self._heartbeat = None if config.heartbeat is None else int(config.heartbeat * 1e9)
        self._last: Known[tuple[int, Any]] = Known(config.max_bytes, lambda known: _NUMBER_BYTES + _weight(known[1]))

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._changed)

    def _changed(self, item: Item) -> bool:
        key, value = self._key(item), self._value(item)
        now, known = item.message.received_at, self._last.get(key)
        overdue = known is not None and self._heartbeat is not None and not 0 <= now - known[0] < self._heartbeat
        changed = known is None or overdue or not self._same(known[1], value)
        if changed:
            self._last.set(key, (now, value))
        return changed

    def _value(self, item: Item) -> Any:
        if not self._by_document:
            return item.payload
        document = item.document
        if self._fields:
            return [read(document) for read in self._fields]
        for path in self._ignored:
            document = without(document, path)
        return document

    def _same(self, before: Any, now: Any) -> bool:
        try:
            return self._equal(before, now)
        except RecursionError:
            raise BadInput("too large", "the document is nested too deeply to be compared") from None

    def _equal(self, before: Any, now: Any) -> bool:
        if before.__class__ is bool or now.__class__ is bool:
            return before is now
        if isinstance(before, int | float) and isinstance(now, int | float):
            return self._close(before, now)
        if before.__class__ is dict and now.__class__ is dict:
            return before.keys() == now.keys() and all(self._equal(value, now[name]) for name, value in before.items())
        if before.__class__ is list and now.__class__ is list:
            return len(before) == len(now) and all(map(self._equal, before, now))
        return bool(before == now)

    def _close(self, before: float, now: float) -> bool:
        try:
            return abs(now - before) <= max(self.config.deadband, abs(before) * self.config.deadband_percent / 100)
        except OverflowError:
            return before == now


def _weight(value: Any) -> int:
    """Return the bytes of a document in memory, about."""
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            total += 100 * len(each) + sum(map(weight, each))
            waiting += each.values()
        elif isinstance(each, list):
            total += 60 + 8 * len(each)
            waiting += each
        else:
            total += weight(each)
    return total
