"""The table that a batch becomes: columns by configuration, without importing pyarrow."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from edgerouter import Section

SOURCE = re.compile(
    r"(?P<field>id|topic|time|qos|retained|payload|sequence)"
    r"|topic\[(?P<level>-?\d+)\]"
    r"|property\[(?P<property>[^\]]+)\]"
    r"|payload\.(?P<path>[^.]+(?:\.[^.]+)*)"
)


class Column(Section):
    """One column of the table."""

    name: str = Field(min_length=1, examples=["celsius"])
    """Name of the column."""
    type: Literal["string", "binary", "bool", "int32", "int64", "float32", "float64", "timestamp", "json"]
    """Type of the column; `timestamp` is microseconds in UTC, `json` is any JSON value as text."""
    value: str = Field(examples=["payload.temperature"])
    """Value of the column: `id`, `sequence`, `topic`, `topic[1]` (a level), `time`, `qos`, `retained`, `payload`, `property[name]`
    (a user property), or `payload.a.b` (from a JSON payload). What is missing is null."""

    @field_validator("value")
    @classmethod
    def _known(cls, value: str) -> str:
        if not SOURCE.fullmatch(value):
            raise ValueError(
                f"{value!r} is not known; write id, sequence, topic, topic[1], time, qos, retained, payload, property[name], "
                "or payload.name for a field of a JSON payload"
            )
        return value


MESSAGE_COLUMNS = (
    Column(name="id", type="string", value="id"),
    Column(name="topic", type="string", value="topic"),
    Column(name="time", type="timestamp", value="time"),
    Column(name="qos", type="int32", value="qos"),
    Column(name="retained", type="bool", value="retained"),
    Column(name="payload", type="binary", value="payload"),
)


class ParquetOptions(Section):
    """Conversion of a batch to a Parquet file."""

    columns: tuple[Column, ...] = Field(
        default=MESSAGE_COLUMNS,
        min_length=1,
        examples=[
            [
                {"name": "time", "type": "timestamp", "value": "time"},
                {"name": "celsius", "type": "float64", "value": "payload.temperature"},
            ]
        ],
    )
    """The columns of the table."""
    mismatch: Literal["null", "reject"] = "null"
    """Handling of a value that does not fit its column: null, or the message goes to the dead letters."""
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd"
    """Compression of the columns."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [column.name for column in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two columns are named {', '.join(twice)}")
        return self
