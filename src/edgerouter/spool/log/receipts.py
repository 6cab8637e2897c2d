"""Receipts of deliveries whose acknowledgement the sender may not have read: what of the log is kept for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery
from edgerouter.spool.log.grouping import Append

Span = tuple[int, int]
"""First sequence, and one above the last."""


class _Kept(msgspec.Struct, frozen=True):
    first: int
    end: int
    delivery: Delivery
    confirmation: Confirmation


class Receipts:
    """Keeps, for each source, a span of the log: from its oldest delivery that is not confirmed to its newest.

    One span for each source, because another source must not keep the log from being trimmed while it is not connected. Sources
    bound what they leave unconfirmed, so the spans and this table are small.

    Args:
        earlier: source, messages and receipt of deliveries of an earlier run.
        released: called when something need not be kept any more.
    """

    def __init__(self, earlier: Iterable[tuple[str, Sequence[Message], bytes]], *, released: Callable[[], None]) -> None:
        self._released = released
        self._kept: dict[str, deque[_Kept]] = {}
        self._of_earlier_run: set[str] = set()
        for source, messages, receipt in earlier:
            if messages:
                delivery = Delivery(messages, _nothing, receipt, Confirmation())
                self._add(source, delivery, messages[0].sequence, messages[-1].sequence + 1)
                self._of_earlier_run.add(source)

    def spans(self, end: int = 0, appends: Sequence[Append] = ()) -> dict[str, Span]:
        """The span of each source that has one.

        Args:
            end: the sequence of the first message of `appends`.
            appends: deliveries that are about to be stored.
        """
        for source in list(self._kept):
            kept = self._kept[source]
            while kept and kept[0].confirmation.confirmed:
                kept.popleft()
            if not kept:
                del self._kept[source]
        spans = {source: (kept[0].first, kept[-1].end) for source, kept in self._kept.items()}
        first = end
        for append in appends:
            end = first + len(append.delivery.messages)
            if append.delivery.receipt:
                spans[append.source] = (spans.get(append.source, (first, end))[0], end)
            first = end
        return spans

    def stored(self, append: Append, first: int) -> None:
        """Keep a delivery that is on disk, unless it counts as confirmed once it is acknowledged."""
        delivery = append.delivery
        if not delivery.receipt:
            return
        if delivery.confirmation is not None:
            self._add(append.source, delivery, first, first + len(delivery.messages))
        elif append.source in self._of_earlier_run:
            # a source that confirms nothing has no use for them once it goes on
            self._of_earlier_run.discard(append.source)
            self._kept.pop(append.source, None)

    def of(self, source: str) -> list[Delivery]:
        """Return the unconfirmed receipts of this source, oldest first."""
        return [kept.delivery for kept in self._kept.get(source, ()) if not kept.confirmation.confirmed]

    def hold_all(self, ranges: Iterable[Span]) -> bool:
        """Return True when a receipt keeps all of these from being trimmed."""
        spans = self.spans()
        return not any(True for start, end in ranges for _ in outside(spans, start, end))

    def give_up(self) -> None:
        """Keep nothing: the spool needs the room. What the broker sends again is then stored again."""
        self._kept.clear()

    def _add(self, source: str, delivery: Delivery, first: int, end: int) -> None:
        assert delivery.confirmation is not None
        self._kept.setdefault(source, deque()).append(_Kept(first, end, delivery, delivery.confirmation))
        delivery.confirmation.when_confirmed(self._released)


def overlaps(spans: Iterable[Span], first: int, end: int) -> bool:
    """Return True when a chunk holds part of these spans."""
    return any(a < end and first < b for a, b in spans)


def outside(spans: Mapping[str, Span], start: int, end: int) -> Iterator[Span]:
    """The parts of a range that are in none of the spans."""
    for a, b in sorted(spans.values()):
        if start < min(a, end):
            yield start, min(a, end)
        start = max(start, b)
    if start < end:
        yield start, end


def _nothing() -> None:
    """Ignore the report."""
