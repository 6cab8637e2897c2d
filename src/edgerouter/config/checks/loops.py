"""Check that no MQTT sink publishes what a source of the same configuration receives."""

from __future__ import annotations

from collections.abc import Iterable

from edgerouter.config.model import ConfiguredSink, ConfiguredSource, RouterConfig
from edgerouter.loop_guard import Subscription, broker_key, subscription
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.templates import MESSAGE_FIELDS, Placeholder, parse
from edgerouter.topics import filters_overlap, split_share


def subscriptions(sources: Iterable[ConfiguredSource]) -> dict[str, Subscription]:
    """Return the subscriptions of the MQTT sources, by name."""
    return {
        source.name: subscription(source.config.address, _filters(source))
        for source in sources
        if isinstance(source.config, BrokerSettings)
    }


def loop_faults(config: RouterConfig) -> list[str]:
    """Return a line for each MQTT sink without `loop_guard` whose messages come back by a source of this router."""
    faults = []
    for sink in config.sinks:
        if not isinstance(sink.config, BrokerSettings) or getattr(sink.config, "loop_guard", True):
            continue
        faults += [
            f"sinks.{sink.name}.loop_guard: false, and what this sink publishes to {sink.config.address} comes back by the"
            f" source {source.name!r} and is published again, without end; leave `loop_guard` on, or choose `topics` or a"
            " `topic` that do not overlap"
            for source in config.sources
            if _circles(sink, sink.config, source)
        ]
    return faults


def _circles(sink: ConfiguredSink, to: BrokerSettings, source: ConfiguredSource) -> bool:
    if not isinstance(source.config, BrokerSettings) or broker_key(source.config.address) != broker_key(to.address):
        return False
    wanted = [split_share(each)[1] for each in sink.policies.topics]
    published = filters_of(str(getattr(to, "topic", "{topic}")), wanted)
    received = [split_share(each)[1] for each in _filters(source)]
    return any(
        filters_overlap(target, back) and filters_overlap(back, again) and filters_overlap(target, again)
        for target in published
        for back in received
        for again in wanted
    )


def filters_of(template: str, wanted: list[str]) -> list[str]:
    """Return filters that match every topic of a template."""
    if template == "{topic}":
        return wanted
    levels: list[str] = []
    # the literal text of a topic template holds no wildcards
    for level in "".join(map(_wildcard, parse(template, MESSAGE_FIELDS))).split("/"):
        if "#" in level:
            return ["/".join([*levels, "#"])]
        levels.append("+" if "+" in level else level)
    return ["/".join(levels)]


def _wildcard(part: str | Placeholder) -> str:
    if isinstance(part, str):
        return part
    several = part.name == "property" or (part.name == "topic" and (part.argument is None or ":" in part.argument))
    return "#" if several else "+"


def _filters(source: ConfiguredSource) -> Iterable[str]:
    found: Iterable[str] = getattr(source.config, "subscriptions", ())
    return found
