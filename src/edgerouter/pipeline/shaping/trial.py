"""A trial of a sink's steps: messages go through them as they would in the router, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from edgerouter.config.model import ConfiguredSink
from edgerouter.item import Item
from edgerouter.message import Message
from edgerouter.pipeline.shaping.chain import FOR_EVER, HELD, RETURNED, Chain, Shaped, StepNames, Trace
from edgerouter.topics import Matcher

_SHOWN: Final = 300
"""Characters of a payload that an explanation shows."""


class Trial:
    """The topic filters and steps of one sink.

    The time of the messages is the time of the router: a window ends when a message comes that is late enough, or at the end.

    Args:
        sink: configured.
        host: the device's name.
        spool: id of the spool that the messages seem to be in.
        explain: called with a line for each message behind each step.
    """

    def __init__(self, sink: ConfiguredSink, host: str, spool: str, explain: Callable[[str], None] | None = None) -> None:
        self._explain = explain
        self._wants = Matcher(sink.policies.topics)
        self.chain = Chain(sink.steps, StepNames(sink.name, host, spool), trace=None if explain is None else self._show)
        self._before: dict[int, tuple[Item, str]] = {}
        self.unmatched = 0
        """Messages that `topics` do not match."""
        self.sent = 0
        """Results."""
        self.filtered = 0
        """Messages of which nothing is sent, because a step left them out."""
        self.rejected: list[tuple[Message, str]] = []
        """Messages for the dead letters, with the reason."""

    def put(self, message: Message) -> list[Message]:
        """Return what is sent once this message is there."""
        results: list[Message] = []
        due = self.chain.due
        if due is not None and due <= message.received_at:
            self._say(f"at {datetime.fromtimestamp(due // 1_000_000_000, UTC).isoformat()}:")
            results += self._settled(self.chain.flush(message.received_at))
        self._say(f"{message.id} {_text(message.topic, message.payload)}")
        if not self._wants(message.topic):
            self.unmatched += 1
            self._say("  left out: the sink's `topics` do not match it")
            return results
        return results + self._settled(self.chain.apply([message]))

    def end(self) -> list[Message]:
        """Return what the steps still hold."""
        if self.chain.due is not None:
            self._say("at the end:")
        return self._settled(self.chain.flush(FOR_EVER))

    def _settled(self, shaped: Shaped) -> list[Message]:
        """Count as the router does when all of it is delivered."""
        self.filtered += len(shaped.filtered)
        for item, reason in shaped.rejected:
            stored = [item.original] if item.behind is None else [each.message for each in item.behind]
            self.rejected += [(message, reason) for message in stored]
        for item in shaped.items:
            for each in item.behind or ():
                each.open -= 1
                each.delivered = True
            self._say(f"  sent as {item.message.id}")
        self._before.clear()
        self.sent += len(shaped.items)
        return [item.message for item in shaped.items]

    # -- explaining -------------------------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if self._explain is not None:
            self._explain(line)

    def _show(self, trace: Trace) -> None:
        item = trace.item
        if trace.outcome != RETURNED:
            self._say(f"  {trace.step}: {'held for a later result' if trace.outcome == HELD else trace.outcome}")
            return
        try:
            text = _text(item.message.topic, item.payload)
        except (ValueError, TypeError, RecursionError) as error:
            text = f"no JSON document: {error}"
        known = self._before.get(id(item))
        before = _text(item.original.topic, item.original.payload) if known is None or known[0] is not item else known[1]
        self._before[id(item)] = (item, text)
        self._say(f"  {trace.step}: {'passes' if text == before else text}")


def _text(topic: str, payload: bytes) -> str:
    shown = payload[: 4 * _SHOWN].decode(errors="replace")
    return f"{topic} {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}"
