"""Received messages of NATS as messages of the router."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from edgerouter import Message, SourceContext, TopicCache
from edgerouter.receiving import ReceivedTopic, TopicSource
from edgerouter_nats.headers import ReceivedProperties, carries_id_of, received
from edgerouter_nats.parser import Arrived
from edgerouter_nats.subjects import SUBJECT, Alphabet, Topics

MOST_SUBJECT_CHARACTERS: Final = 4096
"""A server passes no longer ones on; the rest is left out of the topic."""


class Incoming:
    """Makes messages of one source.

    Args:
        template: topic of each message.
        place: name of the stream, bucket or subscription.
        context: of the source.
        qos: 1 where the service keeps a message until it is acknowledged.
        skip_own: leave out what this router itself has sent.
        alphabet: of subjects or of keys.
        prefix: begins every subject, and is left out of the topic.
    """

    def __init__(
        self,
        template: str,
        place: str,
        context: SourceContext,
        *,
        qos: int,
        skip_own: bool,
        alphabet: Alphabet = SUBJECT,
        prefix: str = "",
    ) -> None:
        self._topic = ReceivedTopic(template, TopicSource(place, context.name, context.host))
        self._with_attributes = "{attribute" in template
        self._topics = Topics(alphabet, prefix)
        self._qos = qos
        self._is_own = carries_id_of(context.spool) if skip_own else None
        self._properties = ReceivedProperties()
        self._by_subject: TopicCache[str, str] = TopicCache(self._topic_without_attributes)

    def messages(self, arrived: Sequence[Arrived]) -> list[Message | None]:
        """Return a message for each; `None` for those that this router itself has sent."""
        now = time.time_ns()
        return [self._message(each, now) for each in arrived]

    def topic_of(self, subject: str) -> str:
        """Return the topic of a subject, for counting what is dropped."""
        return self._topics[subject[:MOST_SUBJECT_CHARACTERS]]

    def _message(self, arrived: Arrived, now: int) -> Message | None:
        subject, _, headers, payload = arrived
        if not headers:
            return Message(self._by_subject[subject], payload, now, self._qos)
        if self._is_own is not None and self._is_own(headers):
            return None
        properties, retained = self._properties.of(headers)
        if not self._with_attributes:
            return Message(self._by_subject[subject], payload, now, self._qos, retained, properties)
        topic = self._topic.of({**dict(received(headers)), "topic": self.topic_of(subject)})
        return Message(topic, payload, now, self._qos, retained, properties)

    def _topic_without_attributes(self, subject: str) -> str:
        return self._topic.of({"topic": self.topic_of(subject)})
