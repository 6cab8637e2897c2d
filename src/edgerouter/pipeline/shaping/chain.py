"""The steps of one sink or source, one after another, and what they filter and refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog

from edgerouter.config.model import ConfiguredStep
from edgerouter.errors import BadInput
from edgerouter.item import Item, Stored, finish_all
from edgerouter.message import Message
from edgerouter.pipeline.shaping.documents import Documents
from edgerouter.step import Step, StepContext, StepState
from edgerouter.templates import Names

log = structlog.get_logger("edgerouter.steps")

FOR_EVER: Final = 2**63 - 1
"""A time, ns, beyond all others: everything held is due."""

RETURNED: Final = "returned"
HELD: Final = "held"


class Shaped(msgspec.Struct):
    """Results of the steps for some messages."""

    items: list[Item]
    filtered: list[Message] = msgspec.field(default_factory=list)
    """Stored messages of which nothing is sent."""
    delivered: list[Message] = msgspec.field(default_factory=list)
    """Stored messages of which something was sent earlier, and the rest is filtered."""
    rejected: list[tuple[Item, str]] = msgspec.field(default_factory=list)
    """To be dead-lettered, with the reason."""


class StepNames(msgspec.Struct, frozen=True):
    """Values of `{host}` and `{sink}` in the steps of a source, which has no spool yet."""

    name: str
    host: str
    spool: str = ""


class Trace(msgspec.Struct, frozen=True):
    """One item that a step returned, holds, left out or could not use; for `edgerouter try --explain`."""

    step: str
    item: Item
    outcome: str
    """`RETURNED`, `HELD`, or why it is left out or cannot be used."""


class Chain:
    """The steps, made from their configuration.

    Args:
        steps: configured, in order.
        names: of the sink or source, the device and the spool.
        documents: shared with other sinks.
        trace: called for each item behind each step.
        state: returns the state of a step, by a name that stays while steps of other types come and go.
    """

    def __init__(
        self,
        steps: Sequence[ConfiguredStep],
        names: Names,
        documents: Documents | None = None,
        trace: Callable[[Trace], None] | None = None,
        state: Callable[[str], StepState] = lambda _: StepState(),
    ) -> None:
        self._documents = documents or Documents()
        self._trace = trace
        self._now = Shaped([])
        self._bugs: set[str] = set()
        self.names = [f"{number}:{step.type}" for number, step in enumerate(steps, start=1)]
        """A name for each step, as metrics show it."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Messages that a step left out or could not use, by step and reason."""
        self.received: dict[str, int] = dict.fromkeys(self.names, 0)
        """Messages that each step got."""
        self.steps: list[Step[Any]] = []
        seen: Counter[str] = Counter()
        for name, step in zip(self.names, steps, strict=True):
            seen[step.type] += 1
            kept = state(f"{step.type}.{seen[step.type]}") if step.plugin.stateful else StepState()
            self.steps.append(step.plugin(step.config, self._context(name, step, names, kept)))
        self.holds = any(step.holds for step in self.steps)
        """A message may be held for a later result."""
        self.patience = sum(step.patience for step in self.steps)
        """Seconds that all of them together may hold a message."""
        self._reads = any(step.reads for step in self.steps)
        self._documents.readers += self._reads

    def close(self) -> None:
        """Share nothing any more."""
        self._documents.readers -= self._reads

    def _context(self, name: str, step: ConfiguredStep, names: Names, state: StepState) -> StepContext:
        def refuse(item: Item, error: BadInput) -> bool:
            outcome = step.config.on_error
            self._count(name, item, error.reason, f"{outcome}: {error}")
            if outcome == "dead_letter":
                self._now.rejected.append((item, f"step {name}: {error}"))
            elif outcome == "drop":
                self._leave(item)
            return outcome == "pass"

        def drop(item: Item, reason: str) -> None:
            self._count(name, item, reason, reason)
            self._leave(item)

        return StepContext(names.name, names.host, names.spool, refuse, drop, state)

    # -- applying ---------------------------------------------------------------------------------------------------------------

    def apply(self, messages: Iterable[Message], *, again: bool = False) -> Shaped:
        """Return what becomes of messages.

        Args:
            messages: as they are stored, in order.
            again: they went through before a crash: steps that only select let them pass, and nothing is held.
        """
        now = self._now = Shaped([Item(message, message) for message in messages])
        self._through(now, 0, again=again)
        if again:
            now.items += self._flushed(now, FOR_EVER)
        self._finish(now)
        return now

    def flush(self, until: int) -> Shaped:
        """Return what is due at this time, ns."""
        now = self._now = Shaped([])
        now.items = self._flushed(now, until)
        self._finish(now)
        return now

    def _finish(self, now: Shaped) -> None:
        """Make the payloads."""
        unfit = finish_all(now.items)
        if not unfit:
            return
        for item, error in unfit:
            self._count("end", item, "not JSON", str(error))
            now.rejected.append((item, f"the steps made no JSON document: {error}"))
        refused = {id(item) for item, _ in unfit}
        now.items = [item for item in now.items if id(item) not in refused]

    @property
    def due(self) -> int | None:
        """Time at which `flush` has something, ns; `None` = nothing is held."""
        return min([due for step in self.steps if step.holds and (due := step.due) is not None], default=None)

    @property
    def counted(self) -> dict[str, dict[str, int]]:
        """Messages that each step left out or could not use, by reason."""
        found: dict[str, dict[str, int]] = {}
        for (name, reason), number in self.counts.items():
            found.setdefault(name, {})[reason] = number
        return found

    @property
    def held(self) -> set[int]:
        """Sequences of the stored messages of which a step holds at least a part."""
        held = [item for step in self.steps if step.holds for item in step.held]
        found = {item.original.sequence for item in held if item.behind is None}
        found.update(stored.message.sequence for item in held for stored in item.behind or ())
        return found

    def _flushed(self, now: Shaped, until: int) -> list[Item]:
        found: list[Item] = []
        for place, step in enumerate(self.steps):
            if step.holds and (items := step.flush(until)):
                self._show(place, (), items)
                now.items = items
                self._through(now, place + 1, again=False)
                found += now.items
        return found

    def _through(self, now: Shaped, start: int, *, again: bool) -> None:
        for place in range(start, len(self.steps)):
            step, items = self.steps[place], now.items
            if not items:
                return
            if again and step.selects:
                continue
            self.received[self.names[place]] += len(items)
            if step.reads:
                self._documents.read(items)
            rejected = len(now.rejected)
            try:
                out = step.apply(list(items) if step.holds else items)
            except Exception as error:  # noqa: BLE001  (whatever a plugin raises must not end the sink)
                self._failed(place, items, error, now, rejected)
                return
            if not step.holds and (len(out) != len(items) or step.splits):
                self._left_out(self.names[place], items, out, {id(item) for item, _ in now.rejected[rejected:]})
            self._show(place, items, out)
            now.items = out

    def _show(self, place: int, items: Sequence[Item], out: Sequence[Item]) -> None:
        """Trace what a step has returned, and what it holds."""
        if self._trace is None:
            return
        step, name = self.steps[place], self.names[place]
        held = set(map(id, step.held)) if step.holds and items else ()
        for item in out:
            self._trace(Trace(name, item, RETURNED))
        for item in items:
            if id(item) in held:
                self._trace(Trace(name, item, HELD))

    def _left_out(self, name: str, items: list[Item], out: list[Item], rejected: set[int]) -> None:
        """Filter what a step did not return."""
        kept = set(map(id, out)) | rejected
        # one that was split stands for nothing any more, and one that was dropped is counted
        left = [item for item in items if id(item) not in kept and item.behind != ()]
        if not left:
            return
        self.counts[name, "filtered"] += len(left)
        if self._trace is not None:
            for item in left:
                self._trace(Trace(name, item, "filtered"))
        filtered = self._now.filtered
        for item in left:
            if item.behind is None:
                item.behind = ()
                filtered.append(item.original)
            else:
                self._leave(item)

    def _failed(self, place: int, items: list[Item], error: Exception, now: Shaped, rejected: int) -> None:
        """Dead-letter what a step failed with that should not raise; the messages are safe there, and flow again on a replay."""
        name = self.names[place]
        if name not in self._bugs:
            self._bugs.add(name)
            log.error("step failed with an error that it should not raise", step=name, exc_info=error)
        known = {id(item) for item, _ in now.rejected[rejected:]}
        for item in items:
            if id(item) not in known and item.behind != ():
                self._count(name, item, "bug", f"{type(error).__name__}: {error}")
                now.rejected.append((item, f"step {name}: bug in the step: {type(error).__name__}: {error}"))
        now.items = []

    # -- leaving ----------------------------------------------------------------------------------------------------------------

    def _count(self, name: str, item: Item, reason: str, outcome: str) -> None:
        self.counts[name, reason] += 1
        if self._trace is not None:
            self._trace(Trace(name, item, outcome))

    def _leave(self, item: Item) -> None:
        behind = item.behind
        item.behind = ()
        if behind is None:
            self._now.filtered.append(item.original)
            return
        for stored in behind:
            self._close(stored)

    def _close(self, stored: Stored) -> None:
        stored.open -= 1
        if not stored.open:
            (self._now.delivered if stored.delivered else self._now.filtered).append(stored.message)
