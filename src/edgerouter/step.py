"""The step contract: shape the messages of one sink between the spool and its batches, or those of a source before the spool.

Life cycle: the configuration is validated, the object is made, `apply` is called with each list of messages that was read, and
`flush` once its time has come. All of it runs on the event loop, so a step computes, and waits for nothing.

A step gets and returns a list. A message may become none, one, several (`Item.parts`), or a share of a later result (`Item.merged`
of what a step `holds`). Whatever a result stands for is settled in the spool when the result is delivered: a crash reads it again
and has the same steps make the same result under the same id, so a step keeps no state but what it can derive from messages. What
`apply` leaves out is filtered, and counted. What is dead-lettered is the message as it came in, so that a replay shapes it anew.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeVar

import msgspec

from edgerouter.message import Message
from edgerouter.plugin_config import Configured, PluginConfig

MOST_JSON_BYTES: Final = 1024 * 1024
"""Largest payload that is decoded: the event loop waits meanwhile, for a third of a second where it is all brackets."""
MOST_STATE_BYTES: Final = 32 * 1024**2
"""Largest state of a step."""
OnError = Literal["pass", "drop", "dead_letter"]

UNREAD: Final[Any] = msgspec.UNSET
"""`Item.read` before anything has asked for the document."""


class StepConfig(PluginConfig):
    """Base of a step's configuration. A docstring under every field is the user manual; unknown keys are errors."""

    on_error: OnError = "pass"
    """Handling of a message that the step cannot read or compute with: it goes on unchanged, is dropped, or goes to the dead
    letters. Each is counted by step and reason."""


ConfigT = TypeVar("ConfigT", bound=StepConfig)


class BadInput(Exception):
    """A step cannot read a message, or compute with it.

    Args:
        reason: one of few texts, because it is counted: `not JSON`, `missing field`, `wrong type`, `out of range`, `too large`.
        detail: names the field and the value.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Stored(msgspec.Struct, eq=False, gc=False):
    """A stored message that several results stand for, or that stands with others behind one result."""

    message: Message
    open: int = 1
    """Items and results that are not settled yet."""
    delivered: bool = False
    """One of them was."""


class Item(msgspec.Struct, eq=False, gc=False):
    """A message on its way through the steps of one sink."""

    message: Message
    """As it will be sent, but for a payload that is made from `read` at the end."""
    original: Message
    """As it is stored. Of several: the first."""
    read: Any = UNREAD
    """Document that the payload holds, shared with other sinks: never changed in place. `BadInput`: the payload is not JSON."""
    changed: bool = False
    """The payload is made from `read` when all steps are done."""
    behind: tuple[Stored, ...] | None = None
    """Messages that it stands for; `None` = for `original` alone, and as the only one."""

    @property
    def document(self) -> Any:
        """The payload, decoded from JSON; not to be changed in place.

        Raises:
            BadInput: it is not JSON.
        """
        if self.read is UNREAD:
            self.read = decoded(self.message.payload)
        if isinstance(self.read, BadInput):
            raise self.read
        return self.read

    def becomes(self, document: Any) -> None:
        """Have another document, which becomes the payload."""
        self.read = document
        self.changed = True

    @property
    def payload(self) -> bytes:
        """The payload as it stands.

        Raises:
            BadInput: the document is not one of JSON.
        """
        if not self.changed:
            return self.message.payload
        try:
            return encoded(self.read)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput("wrong type", str(error)[:200]) from error

    def finish(self) -> None:
        """Make the payload from the document, if that has changed.

        Raises:
            ValueError, TypeError, RecursionError: it is not a JSON document.
        """
        if self.changed:
            try:
                payload = _encode(self.read)
            except OverflowError:
                payload = encoded(self.read)
            self.message = _replace(self.message, payload=payload)
            self.changed = False

    def carries(self, payload: bytes) -> None:
        """Have another payload, of any bytes."""
        self.message = _replace(self.message, payload=payload)
        self.read, self.changed = UNREAD, False

    def parts(self, documents: Sequence[Any]) -> list[Item]:
        """Return an item for each document, of which there is at least one; they take the place of this one.

        They have `.1`, `.2` behind its id.
        """
        message = self.message
        behind = (Stored(self.original),) if self.behind is None else self.behind
        for stored in behind:
            stored.open += len(documents) - 1
        self.behind = ()  # it stands for nothing any more
        return [
            Item(
                # a nanosecond apart, for stores that keep one value for each time
                msgspec.structs.replace(message, part=f"{message.part}.{number}", received_at=message.received_at + number - 1),
                self.original,
                document,
                changed=True,
                behind=behind,
            )
            for number, document in enumerate(documents, start=1)
        ]

    @staticmethod
    def merged(items: Sequence[Item], document: Any, *, received_at: int, topic: str | None = None) -> Item:
        """Return one item that stands for all of these, which a step held; its id names the first and the last of them."""
        first, last = items[0], items[-1]
        part = first.message.part + (f"~{last.message.place}" if first is not last else "")
        topic = first.message.topic if topic is None else topic
        message = msgspec.structs.replace(first.message, topic=topic, part=part, received_at=received_at)
        behind: list[Stored] = []
        for item in items:
            if item.behind:
                behind += item.behind
            else:
                behind.append(Stored(item.original))
        return Item(message, first.original, document, changed=True, behind=tuple(behind))


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


_replace = msgspec.structs.replace
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decoded(payload: bytes) -> Any:
    """Return the document that a payload holds, or a `BadInput` that says why it holds none."""
    if len(payload) > MOST_JSON_BYTES:
        return BadInput("too large", f"{len(payload)} bytes; steps read documents of at most {MOST_JSON_BYTES}")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return BadInput("not JSON", str(error))


def decode_all(items: Iterable[Item]) -> None:
    """Decode the payload of each item that has not been read."""
    for item in items:
        if item.read is UNREAD:
            payload = item.message.payload
            if len(payload) <= MOST_JSON_BYTES:
                try:
                    item.read = _decode(payload)
                except (msgspec.DecodeError, ValueError, RecursionError) as error:
                    item.read = BadInput("not JSON", str(error))
            else:
                item.read = decoded(payload)


def encoded(document: Any) -> bytes:
    """Return a document as compact JSON.

    Raises:
        ValueError, TypeError, RecursionError: it is not a JSON document.
    """
    try:
        return _encode(document)
    except OverflowError:  # an integer of more than 64 bits
        return json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
