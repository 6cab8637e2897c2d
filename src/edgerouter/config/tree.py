"""Tree of a configuration: every value with the place where it was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the top of the configuration: `("sinks", "alerts", "topics", 0)`."""


class PendingText(str):
    """A text with references to secret stores, told apart from one that only looks so, such as a secret out of a file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Place where a value was written."""

    label: str
    """Shown to the user: `edgerouter.yaml:7:22` or `EDGEROUTER__SPOOL__MAX_BYTES`."""
    line: int = 0
    column: int = 0

    @property
    def order(self) -> tuple[bool, int, int, str]:
        """Sorts the file from top to bottom, then the variables by name."""
        return (self.line == 0, self.line, self.column, self.label)


Fault: TypeAlias = tuple[Origin, str]
"""Place and text of a problem."""


@dataclass(slots=True)
class Node:
    """One value of the configuration, with its place and its written form."""

    value: str | int | float | bool | dict[str, Node] | list[Node] | None = field(repr=False)
    origin: Origin
    key: Origin | None = None
    """Place of its key, when it has one."""
    text: str | None = field(default=None, repr=False)
    """The written text, when `value` was made of a text that could also be meant as it stands: `12345`, `true`."""
    reference: str | None = None
    """The reference that it was made from, such as `${env:PASSWORD}`; then `value` is a secret."""
    pending: Sequence[tuple[str, str]] = ()
    """References to secret stores in it, as store and name, which are resolved when a sink opens."""

    def plain(self) -> Any:
        """Return the value as Python's own dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return PendingText(self.value) if self.pending else self.value

    def child(self, *place: str | int) -> Node | None:
        """Return the value at a place below, or `None`."""
        node: Node | None = self
        for step in place:
            value = node.value if node is not None else None
            if isinstance(value, dict) and isinstance(step, str):
                node = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
                node = value[step]
            else:
                return None
        return node

    def entries(self, *place: str | int) -> dict[str, Node]:
        """Return the mapping at a place below; an empty one where there is none."""
        node = self.child(*place)
        return node.value if node is not None and isinstance(node.value, dict) else {}

    def walk(self, place: Place = ()) -> Iterator[tuple[Place, Node]]:
        """Yield itself and everything below, with places relative to it."""
        yield place, self
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.walk((*place, key))
        elif isinstance(self.value, list):
            for index, node in enumerate(self.value):
                yield from node.walk((*place, index))


def pending_in(node: Node | None) -> tuple[tuple[str, str], ...]:
    """Return the references to secret stores at and below a value, as store and name."""
    return tuple(pair for _, inner in node.walk() for pair in inner.pending) if node is not None else ()
