"""Configuration of the sink aws-s3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgerouter import ByteSize, SinkConfig
from edgerouter.objects import ObjectKey
from edgerouter_aws.s3.bucket import BucketName
from edgerouter_aws.s3.columns import ParquetOptions
from edgerouter_aws.session import AwsSettings, regional

_MOST_METADATA_BYTES = 2 * 1024
"""Names and values together (S3 user guide, "User-defined object metadata")."""
TagName = Annotated[str, Field(min_length=1, max_length=128)]
TagValue = Annotated[str, Field(max_length=256)]
MetadataName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
MetadataValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
"""They travel as HTTP headers."""

_OF_TAGS = frozenset(" +-=._:/@")
"""Beside letters and digits (S3 user guide, "Object tagging")."""


def _is_tag(text: str) -> bool:
    return "${" in text or all(character.isalnum() or character in _OF_TAGS for character in text)


_ENDINGS = {
    "jsonl": ".jsonl.gz",
    "jsonl-exact": ".jsonl.gz",
    "raw-lines": ".txt.gz",
    "length-prefixed": ".bin.gz",
    "payload": "",
    "parquet": ".parquet",
}


class S3Config(AwsSettings, SinkConfig):
    """Objects in an S3 bucket, or in a service that is compatible with S3."""

    bucket: BucketName = Field(examples=["plant-archive"])
    """Name of the bucket, or ARN of an access point."""
    key: ObjectKey | None = Field(default=None, examples=["{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz"])
    """Key of an object, a template (docs/reference/templates.md). Messages that share everything in it but numbers share an object.
    By default `{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}` and an ending for the framing, such as `.jsonl.gz`."""
    framing: Literal["jsonl", "jsonl-exact", "raw-lines", "length-prefixed", "payload", "parquet"] = "jsonl"
    """Content of an object: `jsonl`, one JSON object a line; `jsonl-exact`, the same with every payload as text, or as base64 where
    it is not text, so that any JSON parser restores every byte; `raw-lines`, each payload and a newline; `length-prefixed`, each
    payload after its length as 4 bytes, big-endian; `payload`, one message's payload; `parquet`, a table (needs
    `edgerouter-aws[parquet]`)."""
    ordered: bool | None = None
    """With `concurrency`, write the objects of one folder one after the other, in order. By default that is so for objects of many
    messages, and not with `framing: payload`, since objects of one message have no order to keep."""
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """Compression of an object; `auto` follows the extension of `key`: `.gz` or `.zst`."""
    content_type: str | None = Field(default=None, examples=["application/x-ndjson"])
    """Media type of the objects; by default what `framing` is."""
    content_encoding: Literal["auto", "none"] = "auto"
    """Declare the compression in the Content-Encoding header, so that browsers and HTTP clients undo it."""
    parquet: ParquetOptions = ParquetOptions()
    """The table, with `framing: parquet`."""
    storage_class: str | None = Field(default=None, examples=["STANDARD_IA"])
    """Storage class, such as `STANDARD_IA` or `GLACIER_IR`."""
    tags: dict[TagName, TagValue] = Field(default={}, max_length=10, examples=[{"plant": "north"}])
    """Tags of every object; needs the permission s3:PutObjectTagging."""
    metadata: dict[MetadataName, MetadataValue] = Field(default={}, examples=[{"plant": "north"}])
    """User metadata of every object: ASCII, at most 2 KB in all."""
    encryption: Literal["bucket", "AES256", "aws:kms", "aws:kms:dsse"] = "bucket"
    """Encryption at rest; `bucket` leaves it to the bucket's default, which is at least SSE-S3 (`AES256`)."""
    kms_key_id: str | None = Field(default=None, examples=["alias/plant-archive"])
    """Key of `aws:kms`; by default the account's own for S3."""
    bucket_key: bool = False
    """Use an S3 bucket key, which makes far fewer requests to KMS."""
    acl: str | None = Field(default=None, examples=["bucket-owner-full-control"])
    """Canned ACL, such as `bucket-owner-full-control`; buckets of today take none."""
    expected_bucket_owner: str | None = Field(default=None, pattern=r"^\d{12}$", examples=["123456789012"])
    """Account that must own the bucket; otherwise nothing is written."""
    create_only: bool = False
    """Never replace an object: one that is already under the key counts as written (a conditional write)."""
    multipart: ByteSize = Field(default=64 * 1024**2, ge=5 * 1024**2)
    """Objects over this size are uploaded in parts of this size."""
    checksums: bool | None = None
    """Send a CRC32 with every object. On for AWS; off with `endpoint_url`, because some compatible services do not know it."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Position of the bucket's name: in the path or in the host name."""
    probe: bool = True
    """Check on opening that objects may be stored, by beginning a multipart upload and giving it up. Turn it off where
    the policy allows only some keys and the fixed start of `key` is not one of them."""

    @property
    def service_urls(self) -> Sequence[str]:
        return regional(self, "s3")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kms_key_id is not None and not self.encryption.startswith("aws:kms"):
            raise ValueError("kms_key_id needs encryption: aws:kms")
        if sum(len(name) + len(value) for name, value in self.metadata.items()) > _MOST_METADATA_BYTES:
            raise ValueError(f"the metadata is over {_MOST_METADATA_BYTES} bytes, which is all that S3 takes")
        if bad := [name for name, value in self.tags.items() if name.lower().startswith("aws:") or not _is_tag(name + value)]:
            raise ValueError(
                f"tags are of letters, digits, spaces and +-=._:/@, and their names do not begin with aws: {', '.join(bad)}"
            )
        if self.framing == "parquet" and self.compression != "auto":
            raise ValueError("a Parquet file is compressed inside: set parquet.compression instead of compression")
        return self

    def template(self) -> str:
        """Return `key`, or its default."""
        return self.key if self.key is not None else "{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}" + _ENDINGS[self.framing]
