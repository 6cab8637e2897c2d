"""Configuration of the Cloud Storage sink."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgerouter import ByteSize, SinkConfig
from edgerouter.objects import Compression, Framing, KeyTemplate, ObjectKey
from edgerouter_gcp.credentials import GoogleFields

MARK = "edgerouter"
"""Custom metadata that says which batch an object holds."""
_MAX_METADATA_BYTES = 8192
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


def _bucket(name: str) -> str:
    if "${" not in name and _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a bucket: small letters, digits, dots, hyphens and underscores, at least 3")
    return name


class StorageConfig(GoogleFields, SinkConfig):
    """Configuration of `gcp-storage`. The account needs roles/storage.objectCreator on the bucket."""

    bucket: Annotated[str, AfterValidator(_bucket)] = Field(examples=["plant-archive"])
    """The bucket, which must be there."""
    key: ObjectKey = Field(
        default="{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz", examples=["{topic[1]}/{time:%Y/%m/%d}/{id}.jsonl.zst"]
    )
    """Name of each object, a template (docs/reference/templates.md). Messages whose names differ in a folder go to different
    objects."""
    framing: Framing = "jsonl"
    """`jsonl`: one JSON object a line with topic, time, id and payload. `jsonl-exact`: the same with every payload as text, or as
    base64 where it is not text, so that any JSON parser restores every byte. `raw-lines`: each payload and a newline.
    `length-prefixed`: each payload after its length in 4 bytes. `payload`: one message an object, its payload and nothing else."""
    ordered: bool | None = None
    """With `concurrency`, write the objects of one folder one after the other, in order. By default that is so for objects of many
    messages, and not with `framing: payload`, since objects of one message have no order to keep."""
    compression: Compression | None = None
    """`none`, `gzip` or `zstd`. Default: what the end of `key` says, `.gz` or `.zst`."""
    decompress_on_download: bool = False
    """Store gzip as a `Content-Encoding`, so that Cloud Storage decompresses the object for clients that do not accept
    gzip. Otherwise the object is a compressed file."""
    content_type: str | None = Field(default=None, examples=["application/x-ndjson"])
    """Media type of the objects. Default: what `framing` and `compression` give."""
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] | None = None
    """Storage class of the objects. Default: the bucket's."""
    metadata: Mapping[str, str] = Field(default_factory=dict, examples=[{"plant": "north"}])
    """Custom metadata of every object."""
    kms_key: str | None = Field(
        default=None,
        pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$",
        examples=["projects/plant/locations/europe-west3/keyRings/edge/cryptoKeys/archive"],
    )
    """Cloud KMS key that encrypts the objects: `projects/P/locations/L/keyRings/R/cryptoKeys/K`. Default: the bucket's."""
    custom_time: bool = False
    """Set each object's custom time to when its first message was received, for lifecycle rules that go by age."""
    resumable_above: ByteSize = 8 * 1024 * 1024
    """Objects larger than this are uploaded in a resumable session: after an interruption only the rest is sent."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if MARK in self.metadata:
            raise ValueError(f"metadata cannot hold {MARK!r}: the name is taken")
        if sum(len(name.encode()) + len(value.encode()) for name, value in self.metadata.items()) > _MAX_METADATA_BYTES // 2:
            raise ValueError(f"metadata holds more than {_MAX_METADATA_BYTES // 2} bytes")
        if self.decompress_on_download and self.chosen_compression != "gzip":
            raise ValueError("decompress_on_download needs gzip")
        return self

    @property
    def chosen_compression(self) -> Compression:
        """`compression`, or what the key says."""
        return self.compression if self.compression is not None else KeyTemplate.parse(self.key).compression
