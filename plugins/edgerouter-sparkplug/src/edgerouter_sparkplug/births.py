"""Names of metrics by their alias, as birth certificates give them; kept over restarts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from edgerouter import StepState

_ENTRY_BYTES: Final = 200
"""Memory of an alias beyond its name, about."""


class Node(msgspec.Struct, array_like=True):
    """An edge node since its last NBIRTH."""

    birth: int | None
    """Its `bdSeq`."""
    names: dict[int, tuple[str, int]]
    """Name and data type of each metric by its alias; an alias is unique in a node and its devices (Sparkplug 3.0, 6.4.7)."""
    alive: bool = True

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        return _ENTRY_BYTES + sum(_ENTRY_BYTES + len(name) for name, _ in self.names.values())


class Births:
    """All nodes, by group and node.

    Args:
        state: where they are kept.
        most_bytes: of all together; beyond it those that were quiet longest are forgotten.
    """

    def __init__(self, state: StepState, most_bytes: int) -> None:
        self._state = state
        self._most_bytes = most_bytes
        self._bytes = 0
        self._changed = False
        self._nodes: OrderedDict[str, Node] = OrderedDict()
        try:
            kept = msgspec.msgpack.decode(state.content, type=dict[str, Node]) if state.content else {}
        except msgspec.MsgspecError:
            kept = {}  # the next births fill it again
        for name, node in kept.items():
            self._put(name, node)
        self._changed = False

    def node(self, name: str) -> Node | None:
        """Return a node, which counts as heard of."""
        node = self._nodes.get(name)
        if node is not None:
            self._nodes.move_to_end(name)
        return node

    def born(self, name: str, node: Node) -> None:
        """Note a birth: of a node in place of the earlier one, of a device with what the node has by then."""
        self._put(name, node)

    def died(self, node: Node) -> None:
        """Note a death; its names stay, because data may still be on its way."""
        node.alive = False
        self._changed = True

    def save(self) -> None:
        """Keep what has changed."""
        if self._changed:
            self._changed = False
            self._state.save(msgspec.msgpack.encode(dict(self._nodes)))

    def _put(self, name: str, node: Node) -> None:
        before = self._nodes.pop(name, None)
        self._bytes += node.bytes - (0 if before is None or before is node else before.bytes)
        self._nodes[name] = node
        self._changed = True
        while self._bytes > self._most_bytes and len(self._nodes) > 1:
            _, oldest = self._nodes.popitem(last=False)
            self._bytes -= oldest.bytes
