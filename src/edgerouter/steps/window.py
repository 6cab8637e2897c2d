"""The step `window`: one message for all of a key in an interval, with what was counted and computed of their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from edgerouter.errors import BadInput
from edgerouter.item import UNREAD, Item
from edgerouter.message import Message
from edgerouter.step import Step, StepConfig, StepContext
from edgerouter.steps.keys import TOPIC, key_function
from edgerouter.steps.paths import MISSING, FieldPath, getter, kind_of, parse_path, put, top
from edgerouter.units import ByteSize, Duration

_PLAIN: Final = ("count", "min", "max", "mean", "sum", "first", "last")
_MESSAGE_BYTES: Final = 400
"""Memory of a held message beyond its topic and payload, about."""
_LARGEST: Final = 1e300
_NEVER: Final = 2**63
"""A time, ns, beyond all others."""


def _function(text: str) -> str:
    if text not in _PLAIN:
        number = text.removeprefix("p")
        if text[:1] != "p" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 100:
            raise ValueError(f"{text!r} is not known; write one of {', '.join(_PLAIN)}, or a percentile such as p95")
    return text


Function = Annotated[str, AfterValidator(_function)]


class WindowConfig(StepConfig):
    """Sends one message for all of a key in an interval of the time of reception, when the interval is over.

    The messages stay in the spool until that one is delivered: after a crash the window is made again, under the same id.
    """

    every: Duration = Field(gt=0, le=86_400, examples=["1m"])
    """Length of the interval; intervals begin at multiples of it since 1970-01-01 UTC."""
    by: tuple[str, ...] = Field(default=(TOPIC,), min_length=1, max_length=10, examples=[["topic", "device"]])
    """The key: `topic`, or paths of members of the payload, which the result has, too."""
    fields: tuple[FieldPath, ...] = Field(default=(), max_length=100, examples=[["temperature"]])
    """Members that are computed with; without any the payload is one number."""
    functions: tuple[Function, ...] = Field(
        default=("count", "min", "max", "mean"), min_length=1, max_length=50, examples=[["mean", "max"]]
    )
    """`count`, `min`, `max`, `mean`, `sum`, `first`, `last`, and percentiles such as `p95`."""
    grace: Duration = Field(default=1.0, le=3600)
    """Time after the end of an interval until its result is made."""
    max_messages: int = Field(default=50_000, ge=1, le=1_000_000)
    """Most messages held in all windows; beyond it the oldest window is sent early."""
    max_bytes: ByteSize = Field(default=16 * 1024**2, ge=1024)
    """Most memory of the messages held; beyond it the oldest window is sent early."""


class _Window:
    """One interval of one key."""

    __slots__ = ("begin", "bytes", "end", "items", "key", "values")

    def __init__(self, key: Hashable, begin: int, end: int, fields: int) -> None:
        self.key = key
        self.begin = begin
        self.end = end
        self.items: list[Item] = []
        self.values: list[list[float]] = [[] for _ in range(fields)]
        self.bytes = 0


class WindowStep(Step[WindowConfig]):
    """Holds the messages of every window that is open."""

    reads = True
    holds = True
    stateful = True

    def __init__(self, config: WindowConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._key = None if config.by == (TOPIC,) else key_function(config.by)
        self._length, self._grace = int(config.every * 1e9), int(config.grace * 1e9)
        self.patience = config.every + config.grace
        self._take = _taker(config.fields)
        self._name = top(parse_path(config.fields[0])) if len(config.fields) == 1 else None  # of the only member
        self._latest: dict[Hashable, _Window] = {}  # by key, the one that was filled last
        self._windows: dict[tuple[Hashable, int], _Window] = {}  # in the order in which they were opened
        self._places, self._room = config.max_messages, config.max_bytes  # messages and bytes that it may hold yet
        self._next = 0  # the earliest end

    @property
    def held(self) -> Iterable[Item]:
        return [item for window in self._windows.values() for item in window.items]

    @property
    def due(self) -> int | None:
        return self._next + self._grace if self._windows else None

    def apply(self, items: list[Item]) -> list[Item]:
        out: list[Item] = []
        latest, key_of, take, name, least, most = self._latest, self._key, self._take, self._name, -_LARGEST, _LARGEST
        bare, due = not self.config.fields, self.due or _NEVER
        for item in items:
            message, document = item.message, item.read
            value = document.get(name) if document.__class__ is dict else document if bare else None
            try:
                key = message.topic if key_of is None else key_of(item)
                if not (value.__class__ is float or value.__class__ is int) or not least <= value <= most:
                    if document is UNREAD or document.__class__ is BadInput:
                        document = item.document
                    value = take(document)
            except BadInput as error:
                if self.context.refuse(item, error):
                    out.append(item)
                continue
            now = message.received_at
            if now >= due:
                out += self.flush(now)
                due = self.due or _NEVER
            window = latest.get(key)
            if window is None or not window.begin <= now < window.end:
                window = self._open(key, now)
                due = self._next + self._grace
            # the document is not needed any more; the payload may be, for the dead letters
            item.read = UNREAD
            item.changed = False
            window.items.append(item)
            if value.__class__ is list:
                for series, number in zip(window.values, value, strict=True):
                    if number is not None:
                        series.append(number)
            else:
                window.values[0].append(value)
            size = _MESSAGE_BYTES + len(message.payload) + len(message.topic)
            window.bytes += size
            self._room -= size
            self._places -= 1
            while self._places < 0 or self._room < 0:
                out.append(self._close(next(iter(self._windows))))
        return out

    def flush(self, now: int) -> list[Item]:
        if not self._windows or now < self._next + self._grace:
            return []
        over = [place for place, window in self._windows.items() if window.end + self._grace <= now]
        results = [self._close(place) for place in over]
        self._next = min([window.end for window in self._windows.values()], default=0)
        return results

    def _open(self, key: Hashable, now: int) -> _Window:
        """Return the window of a time, and remember it as the latest of its key."""
        begin = now - now % self._length
        end = begin + self._length
        window = self._windows.get((key, end))
        if window is None:
            window = self._windows[key, end] = _Window(key, begin, end, max(1, len(self.config.fields)))
            self._next = end if len(self._windows) == 1 else min(self._next, end)
        self._latest[key] = window
        return window

    def _close(self, place: tuple[Hashable, int]) -> Item:
        window = self._windows.pop(place)
        if self._latest.get(window.key) is window:
            del self._latest[window.key]
        self._places += len(window.items)
        self._room += window.bytes
        start = window.end - self._length
        document: dict[str, Any] = {"start": _time(start), "end": _time(window.end), "messages": len(window.items)}
        if self.config.by != (TOPIC,):
            names = window.key if isinstance(window.key, tuple) else (window.key,)
            for text, value in zip(self.config.by, names, strict=True):
                if text != TOPIC:
                    document = put(document, parse_path(text), value[0] if isinstance(value, tuple) else value)
        if self.config.fields:
            for text, series in zip(self.config.fields, window.values, strict=True):
                if series:
                    document = put(document, parse_path(text), self._computed(series))
        else:
            document |= self._computed(window.values[0])
        return Item.merged(window.items, document, received_at=window.items[-1].message.received_at)

    def _computed(self, series: list[float]) -> dict[str, float]:
        ordered = sorted(series) if any(name[0] == "p" for name in self.config.functions) else []
        return {name: _compute(name, series, ordered) for name in self.config.functions}


def _compute(name: str, series: list[float], ordered: list[float]) -> float:
    if name == "count":
        return len(series)
    if name in ("min", "max"):
        return min(series) if name == "min" else max(series)
    if name in ("first", "last"):
        return series[0] if name == "first" else series[-1]
    if name[0] == "p":
        # the value at or below which so many percent lie (nearest rank)
        return ordered[max(0, math.ceil(int(name[1:]) / 100 * len(ordered)) - 1)]
    total = math.fsum(series)
    return total if name == "sum" else total / len(series)


def _taker(fields: Sequence[str]) -> Callable[[Any], Any]:
    """Return the function that takes the numbers out of a document: of several fields a list, of one field its number."""
    if not fields:
        return lambda document: _number(document, "the payload")
    readers = [(getter(parse_path(text)), text) for text in fields]
    if len(fields) > 1:
        return lambda document: _numbers(document, readers)
    ((read, name),) = readers

    def only(document: Any) -> float:
        value = read(document)
        if value is MISSING:
            raise BadInput("missing field", name[:200])
        return _number(value, name)

    return only


def _numbers(document: Any, readers: Sequence[tuple[Callable[[Any], Any], str]]) -> list[float | None]:
    """Return the number of each field, of which one is there at least."""
    found: list[float | None] = []
    missing = 0
    for read, text in readers:
        value = read(document)
        if value is MISSING:
            missing += 1
            found.append(None)
        else:
            found.append(_number(value, text))
    if missing == len(found):
        raise BadInput("missing field", ", ".join([text for _, text in readers])[:200])
    return found


def _number(value: Any, what: str) -> float:
    if value.__class__ is not int and value.__class__ is not float:
        raise BadInput("wrong type", f"{what} is {kind_of(value)}, not a number")
    if abs(value) > _LARGEST:
        raise BadInput("out of range", f"{what} is beyond 1e300")
    number: float = value
    return number


def _time(nanoseconds: int) -> str:
    return Message("", b"", nanoseconds).time.isoformat().replace("+00:00", "Z")
