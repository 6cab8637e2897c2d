"""Parquet files from batches, by the columns of the configuration; needs the extra `edgerouter-aws[parquet]`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from edgerouter import Failure, Message, Rejected
from edgerouter_aws.s3.columns import SOURCE, Column, ParquetOptions

_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
}
_FIRST_YEAR, _LAST_YEAR = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years 1 and 9999: what every reader of Parquet can show."""

_LARGEST_SINGLE = 3.4028234663852886e38
"""Of IEEE 754, single precision."""

_decode = msgspec.json.Decoder().decode
_Read = Callable[[Message, Any], Any]


class Mismatch(ValueError):
    """A value does not fit its column."""


class ParquetTable:
    """Encodes batches as Parquet files; the same bytes for the same batch."""

    def __init__(self, options: ParquetOptions) -> None:
        self._columns = [(column, _reader(column.value), _CONVERT[column.type]) for column in options.columns]
        self._schema = pa.schema([pa.field(column.name, _TYPES[column.type]) for column in options.columns])
        self._reject = options.mismatch == "reject"
        self._compression = options.compression
        self._needs_json = any(column.value.startswith("payload.") for column in options.columns)

    def encode(self, batch: Sequence[Message]) -> tuple[bytes, Sequence[Failure]]:
        """The file with all messages, except those whose values do not fit where that rejects a message."""
        rows: list[list[Any]] = []
        failures: list[Failure] = []
        for index, message in enumerate(batch):
            try:
                rows.append(self._row(message))
            except Mismatch as error:
                failures.append(Failure(index, Rejected(str(error))))
        columns = list(zip(*rows, strict=True)) or [()] * len(self._columns)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, schema=self._schema), sink, compression=self._compression)
        return bytes(sink.getvalue()), failures

    def _row(self, message: Message) -> list[Any]:
        document = _json(message.payload) if self._needs_json else None
        row = []
        for column, read, convert in self._columns:
            value = read(message, document)
            try:
                row.append(None if value is None else convert(value))
            except (ValueError, OverflowError, TypeError):
                if self._reject:
                    raise Mismatch(f"column {column.name}: {_shown(value)} is not {_article(column)}") from None
                row.append(None)
        return row


def _json(payload: bytes) -> Any:
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _reader(source: str) -> _Read:
    match = SOURCE.fullmatch(source)
    assert match is not None, "the configuration was validated"
    if field := match["field"]:
        return _FIELDS[field]
    if level := match["level"]:
        return _level(int(level))
    if name := match["property"]:
        return _property(name)
    return _path(match["path"].split("."))


_FIELDS: dict[str, _Read] = {
    "id": lambda message, _: message.id,
    "sequence": lambda message, _: message.sequence,
    "topic": lambda message, _: message.topic,
    "time": lambda message, _: message.time,
    "qos": lambda message, _: message.qos,
    "retained": lambda message, _: message.retained,
    "payload": lambda message, _: message.payload,
}


def _level(index: int) -> _Read:
    def read(message: Message, _: Any) -> str | None:
        levels = message.topic.split("/")
        return levels[index] if -len(levels) <= index < len(levels) else None

    return read


def _property(name: str) -> _Read:
    def read(message: Message, _: Any) -> str | None:
        pairs = message.properties.user if message.properties is not None else ()
        return next((value for key, value in pairs if key == name), None)

    return read


def _path(names: Sequence[str]) -> _Read:
    def read(_: Message, document: Any) -> Any:
        for name in names:
            if not isinstance(document, dict):
                return None
            document = document.get(name)
        return document

    return read


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise TypeError
    text.encode()  # Arrow rejects half a surrogate pair
    return text


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _text(value).encode()


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _integer(bits: int) -> Callable[[Any], int]:
    bound = 1 << (bits - 1)

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not -bound <= value < bound:
            raise TypeError
        return int(value)

    return convert


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _single(value: Any) -> float:
    number = _number(value)
    if math.isfinite(number) and abs(number) > _LARGEST_SINGLE:
        raise OverflowError  # it would become infinite
    return number


def _timestamp(value: Any) -> int:
    """Microseconds since 1970 from a time, from ISO 8601 text, or from seconds since 1970."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        since: timedelta = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    micros = round(_number(value) * 1_000_000)  # raises for infinity and for what is not a number
    if not _FIRST_YEAR <= micros <= _LAST_YEAR:
        raise ValueError
    return micros


def _as_json(value: Any) -> str:
    if isinstance(value, bytes):
        value = _decode(value)
    return msgspec.json.encode(value).decode()


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "binary": _bytes,
    "bool": _bool,
    "int32": _integer(32),
    "int64": _integer(64),
    "float32": _single,
    "float64": _number,
    "timestamp": _timestamp,
    "json": _as_json,
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _article(column: Column) -> str:
    return f"{'an' if column.type[0] in 'aeiou' else 'a'} {column.type}"
