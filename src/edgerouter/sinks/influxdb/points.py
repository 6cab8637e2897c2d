"""Makes a point of each message: by templates, or as the payload says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from edgerouter.message import Message
from edgerouter.sink import SinkContext
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.json_fields import OutOfBounds, decode, scalars
from edgerouter.sinks.influxdb.lines import field, line, raw_fields, raw_tags
from edgerouter.sinks.influxdb.template import Template

ToLine: TypeAlias = Callable[[Message], bytes]
"""The line for a message; raises `ValueError` when there is none."""


_RISE: Final = 100_000
_FALL: Final = 500


def time_of(message: Message) -> int:
    """Return when the message was received, in nanoseconds, the same at each retry; later than that of the message before it.

    InfluxDB keeps one point of a series for a time. The spool keeps its messages a microsecond apart; those of a spool that an
    older release filled share the time of their read, and the sequence tells them apart. What it adds rises to a tenth of a
    millisecond and comes back in steps of half a microsecond, so that no message is ever earlier than the one before it.
    """
    place = message.sequence % (_RISE + _RISE // _FALL)
    return message.received_at + (place if place < _RISE else _RISE - (place - _RISE + 1) * _FALL)


def by_body() -> ToLine:
    """The payload is `{"measurement": ..., "tags": ..., "values": ...}`."""

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
    """Measurement, tags and fields come from templates."""
    measurement = Template.parse(config.measurement)
    tags = {name: Template.parse(text) for name, text in config.tags.items()}
    fields = {name: Template.parse(text) for name, text in config.fields.items()}

    def to_line(message: Message) -> bytes:
        payload = _payload(message.payload)
        if fields:
            found = {
                name: field(value)
                for name, template in fields.items()
                if (value := template.value(message, payload, names)) is not None and value != ""
            }
        else:
            found = scalars(payload if isinstance(payload, Mapping) else {"value": payload})
            # of the payload's own names InfluxDB has one for itself: version 2 leaves such a field out, version 3 refuses the point
            found.pop("time", None)
        return line(
            measurement.text(message, payload, names),
            {name: template.text(message, payload, names) for name, template in tags.items()},
            found,
            time_of(message),
        )

    return to_line


def _payload(payload: bytes) -> Any:
    """Read a payload as JSON, else as text.

    Raises:
        ValueError: it is neither, or JSON out of bounds.
    """
    try:
        return decode(payload)
    except OutOfBounds:
        raise
    except ValueError:
        pass  # text then
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ValueError("the payload is neither JSON nor text") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
