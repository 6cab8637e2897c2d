"""Steps that lose, change or count what they should not."""

from __future__ import annotations

import time
from typing import Any, ClassVar, cast

from pydantic import ConfigDict

from edgerouter import BadInput, Item, Step, StepConfig
from support.wrong.catalogue import wrong

COUNTED = ("step", "test_every_message_is_accounted_for")
SAME = ("step", "test_results_do_not_depend_on_the_lists", "differ from those of one list, or between two instances")
BAD = ("step", "test_bad_input_raises_nothing_and_is_handled_by_on_error")


class PlainConfig(StepConfig):
    """Has no field."""


class PlainStep(Step[PlainConfig]):
    """Lets everything go on."""

    def apply(self, items: list[Item]) -> list[Item]:
        return items


@wrong("step", "test_order_is_kept", "keeps the order")
class Reverses(PlainStep):
    """Returns the last message first."""

    def apply(self, items: list[Item]) -> list[Item]:
        return items[::-1]


@wrong(*COUNTED, "returned twice")
class Doubles(PlainStep):
    """Returns each message twice."""

    def apply(self, items: list[Item]) -> list[Item]:
        return items * 2


@wrong(*COUNTED, "returns a list")
class Lazy(PlainStep):
    """Returns a generator."""

    def apply(self, items: list[Item]) -> list[Item]:
        return cast("list[Item]", (item for item in items))


@wrong(*COUNTED, "`splits = True`")
class SplitsInSecret(PlainStep):
    """Splits messages, and does not declare it."""

    def apply(self, items: list[Item]) -> list[Item]:
        return [*Item.merged(items, 1, received_at=1).parts([1, 2])]


@wrong(*COUNTED, "comes from `Item.parts` or `Item.merged`")
class Invents(PlainStep):
    """Makes a message that stands for none."""

    def apply(self, items: list[Item]) -> list[Item]:
        return [*items, *(Item(item.message, item.message) for item in items[:1])]


@wrong("step", "test_shared_documents_are_not_changed", "copy what you change")
class ChangesInPlace(PlainStep):
    """Changes a document that other sinks read, too."""

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            if isinstance(item.read, dict):
                item.read["seen"] = True
        return items


@wrong(*SAME)
class Counts(PlainStep):
    """Lets every second list go on, and counts in its class."""

    seen: ClassVar[list[int]] = [0]

    def apply(self, items: list[Item]) -> list[Item]:
        self.seen[0] += 1
        return [item for item in items if self.seen[0] % 2]


@wrong(*SAME)
class Stamps(PlainStep):
    """Writes the time of shaping into the document: another one at a retry."""

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            item.becomes({"shaped": time.time_ns()})
        return items


@wrong("step", "test_what_is_held_is_given_back", "nothing is held")
class HoldsForEver(PlainStep):
    """Never gives back what it holds."""

    holds: ClassVar[bool] = True

    def apply(self, items: list[Item]) -> list[Item]:
        self.__dict__.setdefault("kept", []).extend(items)
        return []

    @property
    def held(self) -> Any:
        return self.__dict__.get("kept", ())

    @property
    def due(self) -> int | None:
        return 1 if self.held else None


@wrong("step", "test_what_is_held_is_given_back", "`due` is a time while something is held")
class NeverDue(HoldsForEver):
    """Holds messages and never asks for a flush."""

    @property
    def due(self) -> int | None:
        return None


@wrong("step", "test_a_step_that_selects_changes_nothing", "`selects = True` is for steps that change no message")
class SelectsAndChanges(PlainStep):
    """Declares that it changes nothing, and does."""

    selects: ClassVar[bool] = True

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            item.carries(b"{}")
        return items


@wrong("step", "test_memory_is_bounded_for_invented_topics", "bound what is kept")
class Remembers(PlainStep):
    """Keeps every topic that it has seen."""

    stateful: ClassVar[bool] = True

    def apply(self, items: list[Item]) -> list[Item]:
        self.__dict__.setdefault("topics", set()).update(item.message.topic for item in items)
        return items


@wrong(*BAD, "`apply` raises nothing")
class Raises(PlainStep):
    """Raises for a message that has no such member."""

    def apply(self, items: list[Item]) -> list[Item]:
        return [item for item in items if item.document["value"]]


@wrong(*BAD, "returned False")
class GoesOnAllTheSame(PlainStep):
    """Does not listen to the answer of `refuse`."""

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            if not item.message.payload.startswith(b"{"):
                self.context.refuse(item, BadInput("not JSON"))
        return items


@wrong(*BAD, "one of few texts")
class Quotes(PlainStep):
    """Has another reason for each message, and counts each."""

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._check)

    def _check(self, item: Item) -> bool:
        raise BadInput(f"cannot use {item.payload[:100]!r}")


@wrong(*BAD, "of processor time for")
class Computes(PlainStep):
    """Takes a second for a long payload."""

    def apply(self, items: list[Item]) -> list[Item]:
        until = time.process_time() + (1.1 if any(len(item.payload) > 500_000 for item in items) else 0)
        while time.process_time() < until:
            pass
        return items


class Silent(PlainConfig):
    """Has a field without a docstring."""

    limit: int = 1


@wrong("step", "test_the_configuration_is_documented_and_strict", "write a docstring under these fields")
class Undocumented(PlainStep):
    """Has a field without a docstring."""

    Config = Silent


class Loose(PlainConfig):
    """Takes every key."""

    model_config = ConfigDict(frozen=False)


@wrong("step", "test_the_configuration_is_documented_and_strict", "leave `frozen`")
class Changeable(PlainStep):
    """Has a configuration that changes."""

    Config = Loose
