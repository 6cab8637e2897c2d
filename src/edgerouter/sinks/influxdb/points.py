"""Converts each message to a point: by templates, or as the payload specifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from edgerouter.message import Message
from edgerouter.sink import SinkContext
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.json_fields import OutOfBounds, decode, scalars
from edgerouter.sinks.influxdb.lines import field, line, raw_fields, raw_tags
from edgerouter.sinks.influxdb.template import text_of, value_of

ToLine: TypeAlias = Callable[[Message], bytes]
"""Returns the line for a message; raises `ValueError` if the message does not make a point."""


_RISE: Final = 100_000
_FALL: Final = 500


def time_of(message: Message) -> int:
    """Return the time of reception in nanoseconds: the same at each retry, and later than that of the message before.

    InfluxDB keeps one point of a series per timestamp. The spool spaces its messages a microsecond apart. Messages of a spool
    filled by an older release share the time of their read, so the sequence distinguishes them. The addition rises to a tenth of a
    millisecond and falls back in steps of half a microsecond, so that no message is ever earlier than the one before it.
    """
    place = message.sequence % (_RISE + _RISE // _FALL)
    return message.received_at + (place if place < _RISE else _RISE - (place - _RISE + 1) * _FALL)


def by_body() -> ToLine:
    """Build a function for payloads of the form `{"measurement": ..., "tags": ..., "values": ...}`."""

    def to_line(message: Message) -> bytes:
        body = decode(message.payload)
        measurement = body.get("measurement") if isinstance(body, dict) else None
        if not isinstance(measurement, str):
            raise ValueError(  # noqa: TRY004  (of the message, not of a caller)
                'the payload is not {"measurement": ..., "tags": ..., "values": ...}'
            )
        tags, values = body.get("tags") or "", body.get("values") or ""
        return line(
            measurement,
            {str(key): _text(value) for key, value in tags.items()} if isinstance(tags, Mapping) else raw_tags(str(tags)),
            scalars(values) if isinstance(values, Mapping) else raw_fields(str(values)),
            time_of(message),
        )

    return to_line


def by_template(config: InfluxDbConfig, names: SinkContext) -> ToLine:
    """Build a function that fills measurement, tags and fields from templates."""
    measurement = text_of(config.measurement, names)
    tags = {name: text_of(text, names) for name, text in config.tags.items()}
    fields = {name: value_of(text, names) for name, text in config.fields.items()}

    def to_line(message: Message) -> bytes:
        payload = _payload(message.payload)
        if fields:
            found = {
                name: field(value) for name, read in fields.items() if (value := read(message, payload)) is not None and value != ""
            }
        else:
            found = scalars(payload if isinstance(payload, Mapping) else {"value": payload})
            # InfluxDB reserves `time`: version 2 leaves such a field out, version 3 refuses the point
            found.pop("time", None)
        return line(
            measurement(message, payload),
            {name: read(message, payload) for name, read in tags.items()},
            found,
            time_of(message),
        )

    return to_line


def _payload(payload: bytes) -> Any:
    """Decode a payload as JSON, else as text.

    Raises:
        ValueError: it is neither, or is JSON out of bounds.
    """
    try:
        return decode(payload)
    except OutOfBounds:
        raise
    except ValueError:
        pass  # decode it as text
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ValueError("the payload is neither JSON nor text") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
