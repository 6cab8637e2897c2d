"""The file sink's configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, field_validator, model_validator

from edgerouter.folder import FolderPath
from edgerouter.objects import Compression, Framing, ObjectKey
from edgerouter.sink import SinkConfig
from edgerouter.units import ByteSize, Duration


def _mode(value: Any) -> FileMode:
    """Parse file permissions. An unquoted 640 is read as octal, as chmod does."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"(0o?)?[0-7]{1,3}", text):
        raise ValueError('not file permissions; write them in octal, for example "0640"')
    return FileMode(int(text.removeprefix("0o"), 8))


class FileMode(int):
    """File permissions, read and written in octal."""

    def __str__(self) -> str:
        return f"{int(self):04o}"


Mode = Annotated[FileMode, PlainValidator(_mode), WithJsonSchema({"type": ["string", "integer"], "examples": ["0640"]})]


class RotateConfig(SinkConfig):
    """Limits at which the growing file is closed and a new one begins."""

    size: ByteSize | None = Field(default=64 * 1024**2, ge=1)
    """Rotate before the file would exceed this size. A batch is never divided: a larger one makes a larger file."""
    age: Duration | None = Field(default=None, gt=0, examples=["1d"])
    """Rotate once the file has been growing for this long."""


class KeepConfig(SinkConfig):
    """Retention of rotated files; all are kept by default. The newest rotated file always stays."""

    files: int | None = Field(default=None, ge=1, examples=[20])
    """Most rotated files to keep; the oldest are deleted."""
    bytes: ByteSize | None = Field(default=None, ge=1, examples=["2GiB"])
    """Most bytes of rotated files to keep; the oldest are deleted."""


class FileConfig(SinkConfig):
    """Writes messages to files: one growing file that rotates, or with `key` one object per batch."""

    path: FolderPath = Field(examples=["/data/archive"])
    """Folder; created if missing. Nothing is ever written outside it."""
    key: ObjectKey | None = Field(default=None, examples=["{topic}/{time:%Y/%m/%d}/{id}.jsonl.gz"])
    """Object's path below the folder, a template (docs/reference/templates.md) such as `{topic}/{time:%Y/%m/%d}/{id}.jsonl.gz`: one
    object per batch, written whole or not at all. Without it one file grows."""
    file: str = Field(default="messages.jsonl", examples=["plant.jsonl"])
    """Name of the growing file."""
    framing: Framing = "jsonl"
    """`jsonl`: a JSON object per line with topic, time and payload. `jsonl-exact`: the same with every payload as text, or as
    base64 where it is not text, so that any JSON parser restores every byte. `raw-lines`: each payload and a newline.
    `length-prefixed`: each payload after its length as 4 bytes, big-endian. `payload`: one object per message, only its payload;
    needs `key`."""
    compression: Compression | None = None
    """`none`, `gzip` or `zstd`. By default the extension of `key` decides. The growing file is compressed when it is rotated."""
    rotate: RotateConfig = RotateConfig()
    """Limits at which the growing file is closed and a new one begins."""
    keep: KeepConfig = KeepConfig()
    """Retention of rotated files."""
    fsync: Literal["batch", "interval", "never"] = "batch"
    """Time at which data is synced to disk: before a batch counts as delivered, every `fsync_interval`, or when the system decides.
    Only `batch` survives a power cut without loss."""
    fsync_interval: Duration = Field(default=1.0, gt=0)
    """Longest time between two syncs with `fsync: interval`."""
    mode: Mode = Field(default_factory=lambda: FileMode(0o640), json_schema_extra={"default": "0640"}, examples=["0600"])
    """Permissions of new files in octal, such as "0640"; users who may read the files may also enter the folders."""
    once: bool = False
    """The growing file holds every message exactly once, after any crash. Costs a second sync per batch. Objects always do."""

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if (
            not value
            or value.startswith(".")
            or "/" in value
            or "\\" in value
            or not value.isprintable()
            or len(value.encode()) > 200
        ):
            raise ValueError(f"not a file name: {value!r}; the folder goes into `path`, and the name does not start with a dot")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.key is None:
            if self.framing == "payload":
                raise ValueError("framing: payload writes one object per message and needs `key`")
            if self.framing == "length-prefixed" and not self.once:
                raise ValueError(
                    "framing: length-prefixed in a growing file needs `once: true`, because a torn record would hide what follows"
                )
            if self.once and self.fsync != "batch":
                raise ValueError("once: true needs `fsync: batch`")
        elif self.fsync == "interval":
            raise ValueError("fsync: interval is for the growing file; with `key` choose batch or never")
        return self
