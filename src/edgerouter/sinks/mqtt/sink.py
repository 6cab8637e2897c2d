"""The MQTT sink: publishes to a broker, and counts as delivered what the broker has acknowledged."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import structlog

from edgerouter.errors import Rejected, Unauthorized, WouldLoop
from edgerouter.message import Message, Properties
from edgerouter.mqtt.link import Link, Policy
from edgerouter.mqtt.outgoing import Answer, Publication
from edgerouter.mqtt.properties import encode_properties
from edgerouter.mqtt.publisher import Publisher
from edgerouter.mqtt.reasons import NOT_AUTHORIZED, not_taken
from edgerouter.outcome import Failure, Outcome
from edgerouter.sink import Limits, Sink, SinkContext
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.topic import TopicTemplate, check_text

log = structlog.get_logger("edgerouter.mqtt")

_FIXED = 5 + 2 + 2 + 4  # fixed header, length of the topic, packet identifier, length of the properties
_PROPERTY = 5  # identifier and lengths of one property
_NONE = Properties()


class MqttSink(Sink[MqttSinkConfig]):
    """Publishes over one connection, which is made anew when it was lost."""

    partitioned, ordered = False, True

    def __init__(self, config: MqttSinkConfig, context: SinkContext) -> None:
        self._config = config
        self._template = TopicTemplate(config.topic, context)
        client_id = config.client_id or f"edgerouter-{context.spool[:12]}-sink-{context.name}-{secrets.token_hex(3)}"
        if context.probe:
            client_id += "-check"  # a broker would end the connection of a running router's sink of the same client id
        policy = Policy(client_id, config.qos, config.max_inflight, retains=config.retain != "never")
        self._publisher = Publisher(config, policy, config.protocol, f"mqtt sink {context.name}")
        self._guard = context.loops.for_sink(context.name, config.address, context.spool) if config.loop_guard else None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MqttSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        config.warn_of_weak_points(log.bind(sink=context.name), f"sink {context.name}")
        sink = cls(config, context)
        try:
            await sink._publisher.connected()
            yield sink
        finally:
            await sink._publisher.close()

    @property
    def limits(self) -> Limits:
        return Limits(max_message_bytes=self._publisher.largest_packet)

    def size_of(self, message: Message) -> int:
        # a topic is at most as long as its template and all that a message may put into it
        size = _FIXED + len(self._config.topic) + len(message.topic.encode(errors="replace")) + len(message.payload)
        if self._publisher.version5:
            size += 2 * _PROPERTY + len(self._config.id_property or "") + len(message.id)
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
        for place, message in enumerate(batch):
            try:
                publications.append(self._publication(message, link))
                places.append(place)
            except Rejected as error:
                failures.append(Failure(place, error))
        if not publications:
            return Outcome(failures)
        answers = await link.publish(publications)
        forbidden = [isinstance(answer, Answer) and answer.code == NOT_AUTHORIZED for answer in answers]
        for place, publication, answer in zip(places, publications, answers, strict=True):
            if not isinstance(answer, Answer):
                self._not_published(publication)
                failures.append(Failure(place, answer, may_have_arrived=True))
                continue
            failed = not_taken(answer.code, publication.topic, str(self._config.address))
            if isinstance(failed, Unauthorized) and not all(forbidden):
                failed = Rejected(str(failed))  # others are taken, so it is about this topic
            if failed is not None:
                self._not_published(publication)
                failures.append(Failure(place, failed))
        return Outcome(failures)

    def _publication(self, message: Message, link: Link) -> Publication:
        retain = message.retained if self._config.retain == "same" else self._config.retain == "always"
        properties = self._properties(message) if link.version5 else b""
        topic = self._template.of(message)
        if self._guard is not None:
            if reason := self._guard.loop(message, topic):
                raise WouldLoop(reason)
            self._guard.publishing(topic, message.payload)
        return Publication(topic, message.payload, retain, properties, message.id)

    def _not_published(self, publication: Publication) -> None:
        if self._guard is not None:
            self._guard.not_published(publication.topic, publication.payload)

    def _properties(self, message: Message) -> bytes:
        given = message.properties or _NONE
        user = given.user
        if self._config.id_property is not None:
            user = (*user, (self._config.id_property, message.id))
        for pair in user:
            check_text(pair[0] + pair[1], "a user property")
        check_text((given.content_type or "") + (given.response_topic or ""), "the content type or response topic")
        expiry = given.expiry
        if expiry is not None:
            waited = max(0, time.time_ns() - message.received_at) // 1_000_000_000
            expiry = max(1, expiry - waited)
        try:
            return encode_properties(
                Properties(user, given.content_type, given.response_topic, given.correlation_data, expiry, given.payload_is_text)
            )
        except OverflowError:
            raise Rejected("a property is longer than 65,535 bytes, which MQTT does not allow") from None
