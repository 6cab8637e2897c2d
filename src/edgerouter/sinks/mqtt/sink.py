"""The MQTT sink: publishes to a broker, and counts as delivered what the broker has acknowledged."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from edgerouter.errors import Rejected, Unauthorized, Unavailable, WouldLoop
from edgerouter.message import Message
from edgerouter.mqtt.reasons import NOT_AUTHORIZED, not_taken
from edgerouter.sink import Failure, Limits, Outcome, Sink, SinkContext
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.link import Link, VersionRefused
from edgerouter.sinks.mqtt.publisher import Answer, Publication
from edgerouter.sinks.mqtt.session import Session
from edgerouter.sinks.mqtt.topic import TopicTemplate, check_text

log = structlog.get_logger("edgerouter.mqtt")

_FIXED = 5 + 2 + 2 + 4  # fixed header, length of the topic, packet identifier, length of the properties
_MOST_UNFINISHED = 10_000  # handshakes of QoS 2 that a lost connection cut, and that no write has continued
_PROPERTY = 5  # identifier and lengths of one property


class MqttSink(Sink[MqttSinkConfig]):
    """Publishes over one connection, which is made anew when it was lost."""

    Config = MqttSinkConfig

    def __init__(self, config: MqttSinkConfig, context: SinkContext) -> None:
        self._config = config
        self._context = context
        self._template = TopicTemplate.parse(config.topic)
        self._client_id = config.client_id or f"edgerouter-{context.spool[:12]}-sink-{context.name}-{secrets.token_hex(3)}"
        if context.probe:
            self._client_id += "-check"  # a broker would end the connection of a running router's sink of the same client id
        self._version5 = config.protocol != "3.1.1"
        self._guard = context.loops.for_sink(context.name, config.address, context.spool) if config.loop_guard else None
        self._spoke_version5 = False
        self._connecting: asyncio.Task[Link] | None = None
        self._largest: int | None = None
        self._session = Session(min(2 * config.max_inflight, _MOST_UNFINISHED))

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MqttSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        config.warn_of_weak_points(log.bind(sink=context.name), f"sink {context.name}")
        sink = cls(config, context)
        try:
            await sink._link()
            yield sink
        finally:
            await sink._close()

    @property
    def limits(self) -> Limits:
        return Limits(max_message_bytes=self._largest)

    def size_of(self, message: Message) -> int:
        # a topic is at most as long as its template and all that a message may put into it
        size = _FIXED + len(self._config.topic) + len(message.topic.encode(errors="replace")) + len(message.payload)
        if self._version5:
            size += 2 * _PROPERTY + len(self._config.id_property or "") + len(message.id)
            if (properties := message.properties) is not None:
                size += sum(_PROPERTY + len(name.encode()) + len(value.encode()) for name, value in properties.user)
                size += 5 * _PROPERTY + len((properties.content_type or "").encode())
                size += len((properties.response_topic or "").encode()) + len(properties.correlation_data or b"")
        return size

    def order_of(self, message: Message) -> Hashable:
        return message.topic

    async def write(self, batch: Sequence[Message]) -> Outcome:
        link = await self._link()
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
        answers = await link.publish(publications, self._config.qos)
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
        properties = self._properties(message) if link.version5 else None
        topic = self._template.topic_of(message, self._context)
        if self._guard is not None:
            if reason := self._guard.loop(message, topic):
                raise WouldLoop(reason)
            self._guard.publishing(topic, message.payload)
        return Publication(topic, message.payload, retain, properties, message.id)

    def _not_published(self, publication: Publication) -> None:
        if self._guard is not None:
            self._guard.not_published(publication.topic, publication.payload)

    def _properties(self, message: Message) -> PahoProperties | None:
        given = message.properties
        if given is None and self._config.id_property is None:
            return None
        properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types here
        user = [] if given is None else list(given.user)
        if self._config.id_property is not None:
            user.append((self._config.id_property, message.id))
        for pair in user:
            check_text(pair[0] + pair[1], "a user property")
        if user:
            properties.UserProperty = user
        if given is not None:
            check_text((given.content_type or "") + (given.response_topic or ""), "the content type or response topic")
            if given.content_type is not None:
                properties.ContentType = given.content_type
            if given.response_topic is not None:
                properties.ResponseTopic = given.response_topic
            if given.correlation_data is not None:
                properties.CorrelationData = given.correlation_data
            if given.payload_is_text:
                properties.PayloadFormatIndicator = 1
            if given.expiry is not None:
                waited = max(0, time.time_ns() - message.received_at) // 1_000_000_000
                properties.MessageExpiryInterval = max(1, given.expiry - waited)
        return properties

    async def _link(self) -> Link:
        """The connection, made anew when it was lost. Being cancelled here does not cancel the connect."""
        task = self._connecting
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None or task.result().lost is not None)):
            task = self._connecting = asyncio.create_task(self._connect(), name=f"mqtt sink {self._context.name}: connect")
        return await asyncio.shield(task)

    async def _connect(self) -> Link:
        try:
            link = await self._linked()
        except VersionRefused as refused:
            if self._config.protocol != "auto" or not self._version5 or self._spoke_version5:
                raise refused.error from None
            self._version5 = False
            try:
                link = await self._linked()
            except Unauthorized:
                raise  # it speaks this version, and refuses us
            except VersionRefused:
                self._version5 = True
                raise refused.error from None
            except BaseException:
                self._version5 = True
                raise
        self._spoke_version5 |= self._version5
        self._largest = link.largest_packet
        return link

    async def _linked(self) -> Link:
        worth_keeping = self._session.is_worth_keeping
        link = await Link.connect(self._config, self._client_id, self._session, version5=self._version5)
        if link.session_present and not worth_keeping:
            # 3.1.1: packet ids of another run that the broker holds would swallow messages of ours
            await link.close()
            await self._forget_session()
            link = await Link.connect(self._config, self._client_id, self._session, version5=self._version5)
        return link

    async def _forget_session(self) -> None:
        """Let a broker of 3.1.1 forget the session, which it would keep for ever."""
        link = await Link.connect(self._config, self._client_id, self._session, version5=self._version5, clean=True)
        await link.close()

    async def _close(self) -> None:
        task = self._connecting
        if task is None:
            return
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is None:
            link = task.result()
            await link.close()
            if self._config.qos == 2 and not link.version5:
                with suppress(Unavailable, VersionRefused):
                    await self._forget_session()
