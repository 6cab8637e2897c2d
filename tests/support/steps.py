"""Chains of steps as a configuration makes them, and messages to put through."""

from __future__ import annotations

from typing import Any

import msgspec

from edgerouter import Message, plugins
from edgerouter.config.model import ConfiguredStep
from edgerouter.pipeline.shaping.chain import Chain, StepNames, Trace

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def configured(*steps: dict[str, Any]) -> list[ConfiguredStep]:
    """Return steps as the configuration has them."""
    found = []
    for step in steps:
        own = dict(step)
        kind = own.pop("type")
        plugin = plugins.find("step", kind)
        found.append(ConfiguredStep(plugin=plugin, type=kind, config=plugin.Config(**own)))
    return found


def chain(*steps: dict[str, Any], trace: list[Trace] | None = None) -> Chain:
    """Return a chain of these steps, for the sink `out` on the device `box`."""
    return Chain(configured(*steps), StepNames("out", "box", "spool"), trace=None if trace is None else trace.append)


def message(payload: Any, sequence: int = 1, *, topic: str = "plant/m1/temp", at: float = 0.0) -> Message:
    """Return a stored message; a payload that is not bytes is a JSON document.

    Args:
        payload: of the message.
        sequence: its number in the spool.
        topic: of the message.
        at: seconds after `START`.
    """
    text = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return Message(topic, text, START + int(at * SECOND), 1, False, None, "spool", sequence)


def shaped(step: dict[str, Any], *payloads: Any, topic: str = "plant/m1/temp") -> list[Any]:
    """Return the documents that one step makes of payloads, each a message of its own a second after the one before."""
    stored = [message(payload, number, topic=topic, at=number - 1) for number, payload in enumerate(payloads, start=1)]
    return [msgspec.json.decode(item.message.payload) for item in chain(step).apply(stored).items]
