"""The step contract: shape the messages of one sink between the spool and its batches, or those of a source before the spool.

Life cycle: the configuration is validated, the object is made, `apply` is called with each list of messages that was read, and
`flush` once its time has come. All of it runs on the event loop, so a step computes, and waits for nothing.

A step gets and returns a list, in order. A message may become none, one, several (`Item.parts`), or a share of a later result
(`Item.merged` of what a step `holds`). What `apply` leaves out counts as filtered. What is dead-lettered is the message as it came
in, so that a replay shapes it anew.

All that a result stands for is settled in the spool when the result is delivered. After a crash the messages are read again, and
the same steps make the same result under the same id, so a step keeps no state but what it can derive from messages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeVar

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.plugin_config import Configured, PluginConfig

MOST_STATE_BYTES: Final = 32 * 1024**2
"""Largest state of a step."""
OnError = Literal["pass", "drop", "dead_letter"]


class StepConfig(PluginConfig):
    """Base of a step's configuration. A docstring under every field is the user manual; unknown keys are errors."""

    on_error: OnError = "pass"
    """Handling of a message that the step cannot read or compute with: it goes on unchanged, is dropped, or goes to the dead
    letters. Each is counted by step and reason."""

    @property
    def contents(self) -> bytes:
        """Contents of the files that its fields name, as they were when it was validated; empty where none does.

        The step works with these bytes and reads no file later. A reload that finds other ones restarts the sink or source, as it
        does for another value of a field.
        """
        return b""


ConfigT = TypeVar("ConfigT", bound=StepConfig)


class StepState:
    """Bytes that a step keeps over restarts, where messages that are settled long ago decide about later ones.

    Here they are kept in memory alone; the router keeps those of a sink's steps in the folder of a durable spool.
    """

    def __init__(self) -> None:
        self.content = b""
        """Bytes that were saved last, of at most `MOST_STATE_BYTES`; empty at first."""

    def save(self, content: bytes) -> None:
        """Keep other bytes, before the messages that they come from are settled."""
        self.content = content


@dataclass(frozen=True, slots=True)
class StepContext:
    """Settings and callbacks that the router gives to a step."""

    name: str
    """The sink's or source's name in the configuration."""
    host: str
    """The device's name."""
    spool: str
    """Id of the spool, as in the ids of its messages; empty in a source."""
    refuse: Callable[[Item, BadInput], bool]
    """Handle by `on_error` what the step cannot use; True where the item goes on unchanged."""
    drop: Callable[[Item, str], None]
    """Filter an item that a step `holds`, with a reason to count."""
    state: StepState = field(default_factory=StepState)
    """Kept over restarts."""


class Step(Configured[ConfigT], ABC):
    """A step of one sink, or of one source.

    Args:
        config: validated.
        context: of the sink or source.
    """

    reads: bool = False
    """True for a step that asks every item for its `document`: they are decoded together, once for all sinks."""
    splits: ClassVar[bool] = False
    """True for a step that returns `Item.parts`."""
    selects: ClassVar[bool] = False
    """True for a step that changes no message: what it has let through once is not shown to it again after a crash."""
    stateful: ClassVar[bool] = False
    """True for a step whose answer depends on earlier messages: it cannot stand in a source."""
    patience: float = 0.0
    """Seconds that it may hold a message."""
    holds: ClassVar[bool] = False
    """True for a step that keeps messages for a later result: what it leaves out is held, and only `context.drop` filters."""

    def __init__(self, config: ConfigT, context: StepContext) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def apply(self, items: list[Item]) -> list[Item]:
        """Return what becomes of these, in order. Raises nothing: `context.refuse` takes what cannot be used."""

    def each(self, items: list[Item], change: Callable[[Item], bool]) -> list[Item]:
        """Return the items for which `change` is true; where it raises `BadInput`, `on_error` decides."""
        out = []
        for item in items:
            try:
                goes_on = change(item)
            except BadInput as error:
                goes_on = self.context.refuse(item, error)
            if goes_on:
                out.append(item)
        return out

    @property
    def held(self) -> Iterable[Item]:
        """Return what it holds."""
        return ()

    @property
    def due(self) -> int | None:
        """Time at which `flush` has something to return, ns since 1970-01-01 UTC; `None` = it has nothing."""
        return None

    def flush(self, now: int) -> list[Item]:  # noqa: ARG002  (for steps that hold)
        """Return the results that are due at `now`, ns; everything held where `now` is beyond all times."""
        return []
