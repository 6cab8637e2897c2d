"""Property bag of a message: URL-encoded behind the topic, both ways.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub#send-device-to-cloud-messages
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from edgerouter import Message, Properties, TopicCache

_OWN: Final = frozenset({"topic", "qos", "retained", "response_topic", "correlation_encoding"})
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""Ids that need no encoding."""
_NONE: Final = Properties()
_CORRELATION_FORM: Final = "correlation_encoding"
_CORRELATION, _CONTENT, _ENCODING, _ID = "$.cid", "$.ct", "$.ce", "$.mid"


class Bags:
    """Builds the bags of one sink.

    Args:
        properties: pass topic, qos, the retained flag and user properties on.
        content_type: of messages that say none.
        content_encoding: of all messages.
    """

    def __init__(self, *, properties: bool, content_type: str | None, content_encoding: str | None) -> None:
        def make(about: tuple[str, int, bool, Properties]) -> str:
            return _encode(_system(about[3], content_type, content_encoding) + (_application(*about) if properties else []))

        self._about = TopicCache(make)

    def of(self, message: Message) -> str:
        """Return the bag of one message."""
        about = self._about[message.topic, message.qos, message.retained, message.properties or _NONE]
        identifier = message.id
        if not _PLAIN.fullmatch(identifier):
            identifier = quote(identifier, safe="", errors="replace")
        head = f"%24.mid={identifier}&%24.ctime={_time(message.received_at)}"
        return f"{head}&{about}" if about else head


def bag_of_pack(first: Message, last: Message, count: int, *, gzip: bool) -> str:
    """Return the bag of a pack, whose id is the same when the same messages are packed again."""
    identifier = first.id if first is last else f"{first.id}-{last.sequence}"
    pairs = [(_ID, identifier), (_CONTENT, "application/x-ndjson"), (_ENCODING, "gzip" if gzip else "utf-8")]
    return _encode([*pairs, ("messages", str(count))])


def parse_bag(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the system properties, whose names begin with `$.`, and the application properties."""
    system: dict[str, str] = {}
    application: list[tuple[str, str]] = []
    for pair in filter(None, text.strip("/").split("&")):
        name, _, value = pair.partition("=")
        name, value = unquote(name), unquote(value)
        if name.startswith("$."):
            system[name] = value
        else:
            application.append((name, value))
    return system, application


def received(system: dict[str, str], application: list[tuple[str, str]]) -> Properties | None:
    """Return the properties of a cloud-to-device message."""
    attributes = dict(application)
    found = Properties(
        user=tuple((_plain(name), value) for name, value in application if name not in _OWN),
        content_type=system.get(_CONTENT),
        response_topic=attributes.get("response_topic"),
        correlation_data=_correlation(system.get(_CORRELATION), attributes.get(_CORRELATION_FORM)),
    )
    return found if found != _NONE else None


def _system(given: Properties, content_type: str | None, content_encoding: str | None) -> list[tuple[str, str]]:
    pairs = ((_CONTENT, given.content_type or content_type), (_ENCODING, content_encoding))
    found = [(name, value) for name, value in pairs if value is not None]
    if given.correlation_data is not None:
        try:
            found.append((_CORRELATION, given.correlation_data.decode()))
        except UnicodeDecodeError:
            found += [(_CORRELATION, base64.b64encode(given.correlation_data).decode()), (_CORRELATION_FORM, "base64")]
    return found


def _correlation(text: str | None, form: str | None) -> bytes | None:
    if text is None or form != "base64":
        return None if text is None else text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()


def _application(topic: str, qos: int, retained: bool, given: Properties) -> list[tuple[str, str]]:
    pairs = {"topic": topic, "qos": str(qos), "retained": "true" if retained else "false"}
    if given.response_topic is not None:
        pairs["response_topic"] = given.response_topic
    for name, value in given.user:
        # a bag has each name once: values of a repeated name are joined by commas, as HTTP does
        key = f"user_{name}" if name in _OWN or name.startswith("$") or not name else name
        pairs[key] = f"{pairs[key]},{value}" if key in pairs else value
    return list(pairs.items())


def _plain(name: str) -> str:
    plain = name.removeprefix("user_")
    return plain if plain in _OWN or plain.startswith("$") or not plain else name


def _encode(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe='', errors='replace')}={quote(value, safe='', errors='replace')}" for name, value in pairs)


def _time(nanoseconds: int) -> str:
    seconds, milliseconds = divmod(nanoseconds // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return quote(datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"), safe="")
