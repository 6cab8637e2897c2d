"""The step `sparkplug-b`: Sparkplug B payloads as JSON documents, with names in place of aliases."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError
from pydantic import Field

from edgerouter import BadInput, ByteSize, Item, Step, StepConfig, StepContext
from edgerouter_sparkplug.births import Births, Node
from edgerouter_sparkplug.payload import Payload
from edgerouter_sparkplug.values import metadata_of, properties_of, type_name, value_of

_OF_NODE: Final = frozenset({"NBIRTH", "NDEATH", "NDATA", "NCMD"})
_OF_DEVICE: Final = frozenset({"DBIRTH", "DDEATH", "DDATA", "DCMD"})
_BIRTH_NUMBER: Final = "bdSeq"


class SparkplugConfig(StepConfig):
    """Makes a JSON document of a Sparkplug B payload."""

    namespace: str = Field(default="spBv1.0", min_length=1, examples=["spBv1.0"])
    """First level of the topics; messages of other topics go on unchanged."""
    metrics: bool = True
    """The document has the list `metrics`."""
    values: bool = True
    """The document has the mapping `values`."""
    max_bytes: ByteSize = Field(default=8 * 1024**2, ge=1024)
    """Most memory for the names of metrics; beyond it the nodes that were quiet longest are forgotten until their next birth."""


class SparkplugStep(Step[SparkplugConfig]):
    """Follows the births and deaths of all nodes."""

    stateful = True

    def __init__(self, config: SparkplugConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._births = Births(context.state, config.max_bytes)

    def apply(self, items: list[Item]) -> list[Item]:
        out = self.each(items, self._decoded)
        self._births.save()
        return out

    def _decoded(self, item: Item) -> bool:
        levels = item.message.topic.split("/", 4)
        if levels[0] != self.config.namespace or len(levels) < 4 or levels[2] not in _OF_NODE | _OF_DEVICE:
            return True  # of another topic, or a STATE message, which is JSON already
        document = self._document(levels, item.payload)
        if document is not None:
            item.becomes(document)
        return document is not None

    def _document(self, levels: list[str], payload: bytes) -> dict[str, Any] | None:
        """Return the document; `None` for the death of an earlier connection."""
        _, group, kind, name, *device = levels
        if (kind in _OF_DEVICE) != bool(device):
            raise BadInput("wrong type", f"a {kind} has {'no' if device else 'a'} device in its topic")
        try:
            message = Payload.FromString(payload)
        except DecodeError as error:
            raise BadInput("wrong type", f"not a Sparkplug B payload: {error}") from error
        place = f"{group}/{name}"
        node = self._births.node(place)
        if kind == "NDEATH" and not self._dies(node, message):
            return None
        node = self._named(kind, place, node, message)
        metrics = [self._metric(each, node) for each in message.metrics]
        document: dict[str, Any] = {"group": group, "type": kind, "node": name}
        if device:
            document["device"] = device[0]
        if message.HasField("timestamp"):
            document["timestamp"] = message.timestamp
        if message.HasField("seq"):
            document["seq"] = message.seq
        if self.config.metrics:
            document["metrics"] = metrics
        if self.config.values:
            document["values"] = {each["name"]: each["value"] for each in metrics}
        return document

    def _dies(self, node: Node | None, message: Any) -> bool:
        """Return True for the death of the present connection."""
        number = _birth_number(message)
        if node is None:
            return True
        if node.birth is not None and number is not None and number != node.birth:
            return False
        self._births.died(node)
        return True

    def _named(self, kind: str, place: str, node: Node | None, message: Any) -> Node | None:
        """Note the names of a birth."""
        if kind == "NBIRTH":
            node = Node(_birth_number(message), {})
        elif kind != "DBIRTH":
            return node
        elif node is None:
            node = Node(None, {})
        names = dict(node.names)
        names.update({each.alias: (each.name, each.datatype) for each in message.metrics if each.HasField("alias") and each.name})
        node = Node(node.birth, names, node.alive)
        self._births.born(place, node)
        return node

    def _metric(self, metric: Any, node: Node | None) -> dict[str, Any]:
        name, number = metric.name, metric.datatype
        if metric.HasField("alias") and (not name or not number):
            known = None if node is None else node.names.get(metric.alias)
            if known is not None:
                name, number = name or known[0], number or known[1]
        if not name:
            raise BadInput("missing field", f"no birth has named the alias {metric.alias}; ask the node for a rebirth")
        kind = type_name(number)
        found: dict[str, Any] = {"name": name, "value": None if metric.is_null else value_of(metric, kind), "type": kind}
        if metric.HasField("timestamp"):
            found["timestamp"] = metric.timestamp
        if metric.HasField("alias"):
            found["alias"] = metric.alias
        if metric.is_historical:
            found["historical"] = True
        if metric.is_transient:
            found["transient"] = True
        if metric.HasField("metadata"):
            found["metadata"] = metadata_of(metric.metadata)
        if metric.HasField("properties"):
            found["properties"] = properties_of(metric.properties)
        return found


def _birth_number(message: Any) -> int | None:
    for metric in message.metrics:
        if metric.name == _BIRTH_NUMBER:
            return int(metric.long_value or metric.int_value)
    return None
