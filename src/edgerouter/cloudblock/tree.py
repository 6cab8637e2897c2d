"""Make the tree of a configuration out of nothing but the variables that users of balena's cloud block have set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings

from edgerouter.cloudblock import declared
from edgerouter.cloudblock.declared import BY_DECLARATION, CHAIN, Form, Known, Lookup
from edgerouter.cloudblock.undecided import UNDECIDED
from edgerouter.config import overlay
from edgerouter.config.overlay import Environment, Given
from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.config.validation import Problems
from edgerouter.topics import check_filter, matches
from edgerouter.variables import Variables

SOURCE: Final = "local"
"""Name of the source that the topic and broker variables make."""
REVERSE_SINK: Final = "relay-in"
"""Name of the sink that publishes messages from the cloud."""
_RECEIVED: Final = "$relay-in"
"""First level of the topic that messages from the cloud have inside the router."""
_BROKER: Final = "mqtt://localhost:1883"
_TOPICS: Final = ("cloud-input", "cloud-block-input")
"""Topics that its users publish to; the second appears in one of its documents only."""


class BlockVariables(BaseSettings):
    """The variables that are not about one cloud's service. A value that is set wins; of several names, the newest."""

    topic: str | None = Field(
        None,
        validation_alias=AliasChoices("RELAY_OUT_TOPIC", "LOCAL_MQTT_INPUT_TOPIC", "MQTT_INPUT_TOPIC", "CLOUD_BLOCK_INPUT_TOPIC"),
    )
    """Topic to forward."""
    reverse_topic: str | None = Field(None, validation_alias=AliasChoices("RELAY_IN_TOPIC", "LOCAL_MQTT_OUTPUT_TOPIC"))
    """Topic for messages from the cloud."""
    broker: str | None = Field(None, validation_alias=AliasChoices("LOCAL_MQTT_HOST", "MQTT_HOST"))
    """A URL, possibly with `user:password@`, or a bare host."""
    debug: str | None = Field(None, validation_alias=AliasChoices("CLOUD_BLOCK_DEBUG", "DAPR_DEBUG"))
    """Debug logging, whatever the value."""
    order: str | None = Field(None, validation_alias=AliasChoices("EDGEROUTER_SECRET_STORE_ORDER"))
    """Secret stores in the order in which they are asked, with commas in between."""


@dataclass(slots=True)
class Found:
    """Content of the variables."""

    tree: Node = field(default_factory=lambda: Node({}, Origin("environment")))
    """A configuration, without what `EDGEROUTER__` variables say."""
    faults: list[Fault] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    """A line for each plugin of which only some variables are set, and for what is not there."""
    notes: list[str] = field(default_factory=list)
    """A line for each variable that is accepted and has no effect here."""
    off_sinks: list[str] = field(default_factory=list)
    off_sources: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    """Sinks that wait for the secret stores to say whether they are wanted."""
    lookups: dict[str, Lookup] = field(default_factory=dict)
    """Lookups in the secret stores, by key."""
    order: tuple[str, ...] = ()
    """Secret stores in the order in which they are asked."""

    def section(self, name: str) -> dict[str, Node]:
        """One of the tree's mappings, made when it is not there."""
        assert isinstance(self.tree.value, dict)
        node = self.tree.value.setdefault(name, Node({}, BY_DECLARATION, BY_DECLARATION))
        assert isinstance(node.value, dict)
        return node.value

    @property
    def has_sinks(self) -> bool:
        """True when the tree has a sink, whether or not it is valid."""
        node = self.tree.child("sinks")
        return node is not None and node.value not in (None, {})

    def complete(self, problems: Problems) -> None:
        """Finish the tree after `EDGEROUTER__` variables were laid over it.

        Takes out what they say of sinks and sources that are off, and puts in the stand-ins: what is undecided, all stores as one.
        """
        for section, off in (("sinks", self.off_sinks), ("sources", self.off_sources)):
            entries = self.tree.entries(section)
            for name in off:
                key = overlay.key_of(entries, overlay.folded(name))
                if key in entries and entries[key].child("type") is None:
                    del entries[key]
        sinks = self.tree.entries("sinks")
        for name in self.undecided:
            if name in sinks and isinstance(fields := sinks[name].value, dict):
                fields["type"] = Node(UNDECIDED, BY_DECLARATION)
        stores = self.tree.child("secret_stores")
        if self.tree.child("secret_stores", CHAIN) is not None:
            problems.at(self.tree, ("secret_stores", CHAIN), f"${{{CHAIN}:...}} is built in; choose another name", key=True)
        elif self.lookups and stores is not None and isinstance(stores.value, dict):
            stores.value[CHAIN] = Node({"type": Node(CHAIN, BY_DECLARATION)}, BY_DECLARATION, BY_DECLARATION)


def read(around: Environment, plugins: Sequence[Variables], known: Known) -> Found:
    """Return the configuration that the variables ask for.

    Args:
        around: the environment.
        plugins: what the distributions declare.
        known: what the secret stores are known to have.
    """
    found = Found()
    block = around.read(BlockVariables)
    tuned = _tuned(around, plugins)
    groups = declared.forms(plugins, around, tuned)
    _add_stores(found, [forms for (kind, _), forms in groups.items() if kind == "secret_store"])
    _order(found, tuned, block.get("order"))
    for (kind, _), forms in groups.items():
        if kind == "sink":
            _add_sink(found, forms, known)
    if declared.names_set(plugins, around) or block.keys() - {"order"}:
        _add_source(found, tuned, block)
    if "debug" in block:
        origin = Origin(block["debug"].label)
        found.section("log")["level"] = Node("debug", origin, origin)
    receivers = [forms for (kind, _), forms in groups.items() if kind == "source"]
    found.off_sources += [forms[0].declaration.type for forms in receivers]
    if "reverse_topic" in block:
        _add_reverse(found, receivers, known, block)
    return found


def _tuned(around: Environment, plugins: Sequence[Variables]) -> Node:
    """Return a tree of what `EDGEROUTER__` variables say, with an entry for each declared plugin."""
    of_kind = {
        section: Node({each.type: Node({}, BY_DECLARATION) for each in plugins if each.kind == kind}, BY_DECLARATION)
        for kind, section in declared.SECTIONS.items()
    }
    tree = Node(of_kind, Origin(""))
    overlay.overlay(tree, around)
    return tree


def _add_stores(found: Found, groups: Sequence[Sequence[Form]]) -> None:
    for forms in groups:
        form = declared.choose(forms)
        if not any(each.named for each in forms):
            continue
        if form.missing or not {name for each in forms for name in each.named} <= form.names:
            found.off.append(_partial(forms, form, []))
            continue
        entries, faults = form.nodes()
        found.faults += faults
        found.section("secret_stores")[form.declaration.type] = Node(entries, Origin("environment"))


def _order(found: Found, tuned: Node, order: Given | None) -> None:
    """Put all stores that are on in order, the stated ones first."""
    own = [name for name, node in tuned.entries("secret_stores").items() if node.child("type")]
    there = sorted({*own, *found.section("secret_stores")})
    stated = [name.strip() for name in order.text.split(",") if name.strip()] if order is not None else []
    for name in stated:
        if order is not None and name not in there:
            found.faults.append(
                (Origin(order.label), f"{name}: no such secret store is on; there are: {', '.join(there) or 'none'}")
            )
    found.order = (*(name for name in dict.fromkeys(stated) if name in there), *(name for name in there if name not in stated))


def _add_sink(found: Found, forms: Sequence[Form], known: Known) -> None:
    name = forms[0].declaration.type
    if found.order:
        for each in forms:
            found.lookups |= {lookup.key: lookup for lookup in each.look(known)}
    form = declared.choose(forms)
    wanted = any(each.wanted for each in forms)
    if form.missing:
        found.off_sinks.append(name)
        # as long as something is unknown, something may turn up that shows that it is wanted
        if wanted:
            found.off.append(_partial(forms, form, found.order))
    elif form.unknown:
        found.undecided.append(name)
        found.section("sinks")[name] = Node({"type": Node(name, BY_DECLARATION)}, Origin("environment"))
    elif wanted:
        entries, faults = form.nodes(found.order)
        found.faults += faults
        found.section("sinks")[name] = Node(entries, Origin("environment"))
    else:
        found.off_sinks.append(name)


def _partial(forms: Sequence[Form], form: Form, stores: Sequence[str]) -> str:
    if form.missing:
        return declared.told(form, stores)
    foreign = sorted({name for each in forms for name in each.named} - form.names)
    return f"{declared.title(form)} is off: {', '.join(foreign)} does not go with the others that are set"


def _add_source(found: Found, tuned: Node, block: dict[str, Given]) -> None:
    """Add the source, unless `EDGEROUTER__SOURCES__` variables make one and no topic is named."""
    own = any(node.child("type") for node in tuned.entries("sources").values())
    if own and "topic" not in block:
        return
    topic = block.get("topic")
    if "broker" in block:
        try:
            declared.unquoted(block["broker"].text.strip())
        except ValueError as error:
            found.faults.append((Origin(block["broker"].label), str(error)))
    entries = {"type": Node("mqtt", BY_DECLARATION), "url": _broker(block)}
    if topic is not None:
        origin = Origin(topic.label)
        topics = [Node(topic.text.strip().replace("${", "$${"), origin)]
        entries["topics"] = Node(topics, origin, origin)
    else:
        entries["topics"] = Node([Node(each, BY_DECLARATION) for each in _TOPICS], BY_DECLARATION)
    found.section("sources")[SOURCE] = Node(entries, Origin("environment"))


def _broker(block: dict[str, Given]) -> Node:
    broker = block.get("broker")
    if broker is None:
        return Node(_BROKER, BY_DECLARATION)
    origin = Origin(broker.label)
    secret = broker.label if "@" in broker.text else None
    return Node(broker.text.strip().replace("${", "$${"), origin, origin, reference=secret)


def _add_reverse(found: Found, receivers: Sequence[Sequence[Form]], known: Known, block: dict[str, Given]) -> None:
    """Make a source of every service that can be received from, and one MQTT sink that publishes their messages.

    Their messages have topics that begin with `$`: no other sink gets them, since `#` and `+` do not match there.
    """
    given = block["reverse_topic"]
    topic, origin = given.text.strip(), Origin(given.label)
    forward = block["topic"].text.strip() if "topic" in block else None
    for each in (forward,) if forward is not None else _TOPICS:
        if _is_filter(each) and matches(each, topic):
            found.off.append(
                f"messages from the cloud are off: {given.label} is {topic!r}, which {each!r} would send to the cloud again"
            )
            return
    missing: list[str] = []
    for forms in receivers:
        name = forms[0].declaration.type
        if found.order:
            for form in forms:
                found.lookups |= {lookup.key: lookup for lookup in form.look(known)}
        form = declared.choose(forms)
        if form.missing or form.unknown:
            # sending alone is not a fault; the stores' answers decide what is not known yet
            missing += [f"{name} needs {', '.join(each.names[0] for each in form.missing)}"] if form.wanted and form.missing else []
            missing += [f"{name} waits for the secret stores"] if form.unknown and not form.missing else []
            continue
        entries, faults = form.nodes(found.order)
        found.faults += faults
        entries["topic"] = Node(f"{_RECEIVED}/{name}", BY_DECLARATION)
        found.section("sources")[name] = Node(entries, Origin("environment"))
    if not any(forms[0].declaration.type in found.section("sources") for forms in receivers):
        reason = "; ".join(missing) or "no service is set up that can be received from"
        found.off.append(f"messages from the cloud are off: {given.label} is set, but {reason}")
        return
    found.section("sinks")[REVERSE_SINK] = Node(
        {
            "type": Node("mqtt", BY_DECLARATION, BY_DECLARATION),
            "url": _broker(block),
            "topic": Node(topic.replace("{", "{{").replace("}", "}}").replace("${", "$${"), origin, origin),
            "topics": Node([Node(f"{_RECEIVED}/#", BY_DECLARATION)], BY_DECLARATION),
        },
        Origin("environment"),
    )


def _is_filter(text: str) -> bool:
    try:
        check_filter(text)
    except ValueError:
        return False  # told where the source is checked
    return True
