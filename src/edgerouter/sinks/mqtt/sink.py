"""The MQTT sink: publishes to a broker, and counts as delivered what the broker has acknowledged."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import structlog

from edgerouter.errors import Rejected, WouldLoop
from edgerouter.message import Message
from edgerouter.mqtt.link import Link, Policy
from edgerouter.mqtt.publications import Publication
from edgerouter.mqtt.publisher import Publisher
from edgerouter.mqtt.results import outcome
from edgerouter.mqtt.texts import message_properties
from edgerouter.outcome import Failure, Outcome
from edgerouter.sink import Limits, Sink, SinkContext
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.topic import TopicTemplate

log = structlog.get_logger("edgerouter.mqtt")

_FIXED = 5 + 2 + 2 + 4  # fixed header, length of the topic, packet identifier, length of the properties
_PROPERTY = 5  # identifier and lengths of one property


class MqttSink(Sink[MqttSinkConfig]):
    """Publishes over one connection, which is made anew when it was lost."""

    partitioned, ordered = False, True

    def __init__(self, config: MqttSinkConfig, context: SinkContext) -> None:
        self._config = config
        self._template = TopicTemplate(config.topic, context)
        self._fixed = _FIXED + len(config.topic)
        self._id_bytes = 2 * _PROPERTY + len(config.id_property or "")
        client_id = config.client_id or f"edgerouter-{context.spool[:12]}-sink-{context.name}-{secrets.token_hex(3)}"
        if context.probe:
            client_id += "-check"  # a broker would end the connection of a running router's sink of the same client id
        will = config.last_will.as_will() if config.last_will is not None and not context.probe else None
        policy = Policy(client_id, config.qos, config.max_inflight, retains=config.retain != "never", will=will)
        login = config.jwt.logins(config.username or "unused") if config.jwt is not None else None
        self._largest = sys.maxsize
        """Bytes of a packet that the broker took when the sink was opened."""
        self._publisher = Publisher(config, policy, config.protocol, f"mqtt sink {context.name}", make_login=login)
        self._guard = context.loops.for_sink(context.name, config.address, context.spool) if config.loop_guard else None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MqttSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        config.warn_of_weak_points(log.bind(sink=context.name), f"sink {context.name}")
        sink = cls(config, context)
        try:
            sink._largest = (await sink._publisher.connected()).largest_packet
            yield sink
        finally:
            await sink._publisher.close()

    @property
    def limits(self) -> Limits:
        return Limits(max_message_bytes=self._publisher.largest_packet)

    def size_of(self, message: Message) -> int:
        # a topic is at most as long as its template and all that a message may put into it
        topic = message.topic
        size = self._fixed + len(topic if topic.isascii() else topic.encode(errors="replace")) + len(message.payload)
        if self._publisher.version5:
            size += self._id_bytes + len(message.id)
            if (properties := message.properties) is not None:
                size += sum(_PROPERTY + len(name.encode()) + len(value.encode()) for name, value in properties.user)
                size += 5 * _PROPERTY + len((properties.content_type or "").encode())
                size += len((properties.response_topic or "").encode()) + len(properties.correlation_data or b"")
        return size

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        link = await self._publisher.connected()
        failures = []
        publications: list[Publication] = []
        places: list[int] = []
        # the engine keeps to the limit of the connection that opened the sink
        limit = link.largest_packet if link.largest_packet < self._largest else None
        for place, message in enumerate(batch):
            try:
                publications.append(self._publication(message, link, limit))
                places.append(place)
            except Rejected as error:
                failures.append(Failure(place, error))
        if not publications:
            return Outcome(failures)
        results = await link.publish(publications)
        result = outcome(results, publications, places, str(self._config.address), failures)
        if self._guard is not None and (result.failed or result.untried):
            self._forget({each.index for each in result.failed}.union(result.untried), places, publications)
        return result

    def _forget(self, missing: set[int], places: Sequence[int], publications: Sequence[Publication]) -> None:
        assert self._guard is not None, "asked for where there is one"
        for place, publication in zip(places, publications, strict=True):
            if place in missing:
                self._guard.not_published(publication.topic, publication.payload)

    def _publication(self, message: Message, link: Link, limit: int | None) -> Publication:
        if limit is not None and self.size_of(message) > limit:
            raise Rejected(f"{self._config.address} takes packets of {limit} bytes at most")
        retain = message.retained if self._config.retain == "same" else self._config.retain == "always"
        properties = message_properties(message, self._config.id_property) if link.version5 else b""
        topic = self._template.of(message)
        if self._guard is not None:
            if reason := self._guard.loop(message, topic):
                raise WouldLoop(reason)
            self._guard.publishing(topic, message.payload)
        return Publication(topic, message.payload, retain, properties, message.id)
