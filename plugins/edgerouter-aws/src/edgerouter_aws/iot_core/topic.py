"""Topics that AWS IoT Core takes.

https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits
"""

from __future__ import annotations

import re
from typing import Final

from edgerouter import MessageTemplate, Rejected, SinkContext
from edgerouter.mqtt import check_topic

_LONGEST: Final = 256
_MOST_LEVELS: Final = 8
_BASIC_INGEST: Final = re.compile(r"\$aws/rules/[^/{}]+/", re.IGNORECASE)
"""The three levels that do not count."""
_LITERAL_WILDCARD: Final = re.compile(r"[+#](?![^{]*})")
_CONTEXT: Final = SinkContext("sink", "host", "spool")


def checked_template(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: it cannot give a topic.
    """
    if not text:
        raise ValueError("a topic has at least one character")
    MessageTemplate(text, _CONTEXT)
    if _LITERAL_WILDCARD.search(text):
        raise ValueError(f"{text!r} holds a wildcard, which no publish has")
    first = text.partition("/")[0]
    if first == "$SYS" or (first.startswith("$") and "{" in first):
        raise ValueError(f"{text!r}: no device may choose what follows a leading $")
    if text.lower().startswith("$aws/rules/") and not _BASIC_INGEST.match(text):
        raise ValueError(f"{text!r}: Basic Ingest is written as $aws/rules/RULE/ and a topic, without a placeholder in RULE")
    return text


class Topics:
    """Topics from a template; those of a topic are remembered.

    Args:
        template: checked.
        context: of the sink.
    """

    def __init__(self, template: str, context: SinkContext) -> None:
        match = _BASIC_INGEST.match(template)
        self._free = len(match[0]) if match else 0
        self._reserved = template.startswith("$")
        self.template = MessageTemplate(template, context, self._publishable)

    def _publishable(self, topic: str) -> str:
        if topic.startswith("$") and not self._reserved:
            raise Rejected("a topic that begins with $ belongs to the service; a template may name one, a message may not")
        check_topic(topic[self._free :], longest=_LONGEST, most_levels=_MOST_LEVELS)
        return topic
