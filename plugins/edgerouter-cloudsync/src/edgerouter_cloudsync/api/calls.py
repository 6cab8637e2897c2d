"""Calls of the API: fields checked, CloudSync's answers given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from edgerouter import Rejected, Unavailable
from edgerouter.mqtt import check_topic
from edgerouter.topics import check_filter
from edgerouter_cloudsync.api.answers import (
    Answer,
    Refusal,
    invalid,
    no_broker,
    no_topic,
    not_allowed,
    not_connected,
    not_json,
    not_subscribed_to,
)
from edgerouter_cloudsync.subscriptions.book import Book
from edgerouter_cloudsync.subscriptions.store import Latest, Subscription

MOST_APP_CHARACTERS: Final = 256
MOST_TOPIC_BYTES: Final = 1024
_MOST_LEVELS: Final = 200  # mosquitto's; it closes the connection for more


class Publish(Protocol):
    """Sends data on its way to a broker."""

    def __call__(self, appid: str, url: str, topic: str, payload: bytes) -> Awaitable[Answer]: ...


class Calls:
    """Every call that needs a body or a path.

    Args:
        publish: sends data on its way.
        book: the subscriptions.
        is_allowed: returns True for a broker that requests may name.
        most_subscriptions: most subscriptions of all applications.
    """

    def __init__(self, publish: Publish, book: Book, is_allowed: Callable[[str], bool], most_subscriptions: int) -> None:
        self._publish = publish
        self._book = book
        self._is_allowed = is_allowed
        self._most_subscriptions = most_subscriptions

    async def publish(self, body: bytes) -> Answer:
        """Publish data."""
        appid, payload, topic, url = _texts(body, "appid", "payload", "topic", "url")
        _check_app(appid)
        self._check_broker(url)
        _check_topic(topic)
        return await self._publish(appid, url, topic, _encoded(payload))

    async def subscribe(self, body: bytes) -> Answer:
        """Subscribe to a topic, which may have wildcards."""
        subscription = self._subscription(body)
        if subscription not in self._book and len(self._book) >= self._most_subscriptions:
            reason = f"there are {self._most_subscriptions} subscriptions, which is the most: `max_subscriptions`"
            raise Refusal(Answer(503, f"Error in subscribing the data {reason}"))
        try:
            await self._book.subscribe(subscription)
        except Unavailable as error:
            return not_connected(str(error))
        except Rejected as error:
            return Answer(502, f"Error in subscribing the data {error}")
        return Answer(200, f"Successfully subscribed to the topic {subscription.topic}")

    async def unsubscribe(self, body: bytes) -> Answer:
        """End a subscription."""
        url, topic, appid = self._subscription(body)
        if not await self._book.unsubscribe(appid, url, topic):
            return not_subscribed_to(topic)
        return Answer(200, f"Successfully unsubscribed from the topic {topic}")

    async def disconnect(self, body: bytes) -> Answer:
        """End all subscriptions of an application at a broker."""
        appid, url = _texts(body, "appid", "url")
        if not url:
            raise no_broker()
        if not await self._book.unsubscribe(appid, url):
            return Answer(404, f"Client is not connected to {url}")
        return Answer(200, f"Successfully disconnected from {url}")

    def latest(self, segments: list[str]) -> Answer:
        """Return the latest data, by the levels of a path: `host/topic/appid`, or `topic/appid` as in the first release."""
        if len(segments) < 2:
            raise no_topic()
        *topic, appid = segments
        host, rest = topic[0], "/".join(topic[1:])
        if len(topic) > 1 and Subscription(host, rest, appid) in self._book:
            return _answer(self._book.latest(Subscription(host, rest, appid)))
        whole = "/".join(topic)
        found = [each for each in self._book if each.topic == whole and each.appid == appid]
        values = [latest for each in found if (latest := self._book.latest(each)) is not None]
        if found:
            return _answer(max(values, key=lambda latest: latest.place, default=None))
        if not (rest if len(topic) > 1 else whole):
            raise no_topic()
        if len(topic) > 1 and not host:
            raise no_broker()
        return not_subscribed_to(rest if len(topic) > 1 else whole)

    def subscriptions(self, appid: str | None) -> Answer:
        """List subscriptions, of one application or of all."""
        reasons = self._book.reasons
        listed = [
            {"appid": each.appid, "topic": each.topic, "url": each.url, "connected": not reasons.get(each.url, "")}
            for each in self._book
            if appid in (None, each.appid)
        ]
        return Answer(200, "", {"Subscriptions": listed})

    def _subscription(self, body: bytes) -> Subscription:
        appid, topic, url = _texts(body, "appid", "topic", "url")
        _check_app(appid)
        self._check_broker(url)
        _check_filter(topic)
        return Subscription(url, topic, appid)

    def _check_broker(self, url: str) -> None:
        if not url:
            raise no_broker()
        if "/" in url or "@" in url or not url.isprintable():
            raise invalid("`url` should be the host of a broker, without scheme, path and user")
        if not self._is_allowed(url):
            raise not_allowed(url[:100])


def _texts(body: bytes, *names: str) -> list[str]:
    try:
        fields: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json(f"the body should be a JSON object: {error}") from None
    if not isinstance(fields, Mapping):
        raise invalid("the body should be a JSON object")
    for name in names:
        if not isinstance(fields.get(name), str):
            raise invalid(f"`{name}` should be a text, and is {'missing' if name not in fields else 'another type'}")
    return [fields[name] for name in names]


def _check_app(appid: str) -> None:
    if not appid or len(appid) > MOST_APP_CHARACTERS or "/" in appid or not appid.isprintable():
        raise invalid(f"`appid` should have 1 to {MOST_APP_CHARACTERS} printable characters without `/`")


def _check_topic(topic: str) -> None:
    if not topic:
        raise no_topic()
    try:
        check_topic(topic, longest=MOST_TOPIC_BYTES, most_levels=_MOST_LEVELS)
    except Rejected as error:
        raise invalid(f"`topic`: {error}") from None


def _check_filter(topic: str) -> None:
    if not topic:
        raise no_topic()
    if topic.startswith("$share/"):
        raise invalid("`topic` is not a shared subscription: each application gets the latest value")
    try:
        check_filter(topic)
    except ValueError as error:
        raise invalid(f"`topic`: {error}") from None
    _check_topic(topic.replace("#", "x").replace("+", "x"))


def _encoded(payload: str) -> bytes:
    try:
        return payload.encode()
    except UnicodeEncodeError:
        raise invalid("`payload` should not hold half of a character") from None


def _answer(latest: Latest | None) -> Answer:
    return Answer(200, latest.payload.decode(errors="replace") if latest is not None else "")
