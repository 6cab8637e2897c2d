"""Makes a point of each message: by templates, or as the payload says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from edgerouter.message import Message
from edgerouter.sink import SinkContext
from edgerouter.sinks.influxdb_config import InfluxDbConfig
from edgerouter.sinks.influxdb_lines import field, line, raw_fields, raw_tags
from edgerouter.sinks.influxdb_template import Template

ToLine: TypeAlias = Callable[[Message], bytes]
"""The line for a message; raises `ValueError` when there is none."""

_decode = msgspec.json.Decoder().decode


def time_of(message: Message) -> int:
    """When the message was received, in nanoseconds, the same at each retry.

    InfluxDB keeps one point of a series for a time, so the last three digits tell messages of one microsecond apart.
    """
    return message.received_at // 1000 * 1000 + message.sequence % 1000


def by_body() -> ToLine:
    """The payload is `{"measurement": ..., "tags": ..., "values": ...}`."""

    def to_line(message: Message) -> bytes:
        try:
            body = _decode(message.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ValueError("the payload is not JSON") from None
        measurement = body.get("measurement") if isinstance(body, dict) else None
        if not isinstance(measurement, str):
            raise ValueError(  # noqa: TRY004  (of the message, not of a caller)
                'the payload is not {"measurement": ..., "tags": ..., "values": ...}'
            )
        tags, values = body.get("tags") or "", body.get("values") or ""
        return line(
            measurement,
            {str(key): _text(value) for key, value in tags.items()} if isinstance(tags, Mapping) else raw_tags(str(tags)),
            dict(_scalars(values, "")) if isinstance(values, Mapping) else raw_fields(str(values)),
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
            found = dict(_scalars(payload, "") if isinstance(payload, Mapping) else _scalars({"value": payload}, ""))
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
    """As JSON, else as text.

    Raises:
        ValueError: neither.
    """
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # text then
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ValueError("the payload is neither JSON nor text") from None


def _scalars(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if not key.strip():
            continue  # no name for a field
        if isinstance(inner, Mapping):
            yield from _scalars(inner, f"{name}.")
        elif isinstance(inner, bool | int | float) or (isinstance(inner, str) and inner):
            yield name, field(inner)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
