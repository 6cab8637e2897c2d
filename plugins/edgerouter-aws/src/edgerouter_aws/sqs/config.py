"""The configuration of aws-sqs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edgerouter import ByteSize, Section, SinkConfig
from edgerouter.objects import KeyTemplate, ObjectKey
from edgerouter_aws.s3.bucket import BucketName
from edgerouter_aws.session import AwsSettings
from edgerouter_aws.sqs.address import Address

Attribute = Literal["topic", "id", "time", "qos", "retained", "content_type", "response_topic", "correlation_data"]
_NOT_IN_A_GROUP = frozenset({"id", "first", "last", "sequence", "time"})


def _group(text: str) -> str:
    for field in KeyTemplate.parse(text, unique=False).fields & _NOT_IN_A_GROUP:
        raise ValueError(f"{text!r}: {{{field}}} differs with every message, so there would be no order to keep")
    return text


class ClaimCheck(Section):
    """Bucket for payloads that do not fit into a message of SQS; the message then carries a reference.

    The form is that of Amazon's "SQS Extended Client Library", so its consumers find the payload by themselves.
    """

    bucket: BucketName = Field(examples=["plant-large-messages"])
    """S3 bucket for these payloads. A lifecycle rule should remove them after some time."""
    key: ObjectKey = Field(default="{topic}/{id}", examples=["claims/{topic}/{id}"])
    """Key of a payload, a template (docs/reference/templates.md)."""
    over: ByteSize | None = Field(default=None, examples=["200KiB"])
    """Payloads over this size go there; by default those that do not fit."""
    region: str | None = Field(default=None, examples=["eu-west-1"])
    """Region of the bucket; by default that of the queue."""
    endpoint_url: str | None = Field(default=None, examples=["https://minio.plant.example:9000"])
    """Address of S3 instead of the region's own; by default the sink's `endpoint_url`."""


class SqsConfig(AwsSettings, SinkConfig):
    """Messages in an SQS queue, standard or FIFO."""

    queue: str = Field(min_length=1, examples=["plant-alerts"])
    """Name, URL or ARN of the queue. A name ending in `.fifo` is a FIFO queue."""
    account_id: str | None = Field(default=None, pattern=r"^\d{12}$", examples=["123456789012"])
    """Account that owns the queue, when `queue` is a name and the account is not that of the credentials."""
    attributes: tuple[Attribute, ...] = ("topic", "id", "time", "qos", "retained")
    """Parts of a message to send as message attributes, under these names."""
    user_properties: bool | tuple[str, ...] = Field(default=True, examples=[["unit", "line"]])
    """MQTT 5 user properties to send as attributes too: all, none, or those named. SQS takes 10 attributes in all; the first
    ones count."""
    binary: Literal["base64", "reject"] = "base64"
    """Handling of a payload that is not text: base64, with the attribute `encoding` saying so, or to the dead letters."""
    group_id: Annotated[str, AfterValidator(_group)] | None = Field(default=None, examples=["{topic[1]}"])
    """Message group, a template (docs/reference/templates.md) such as `{topic[1]}` or `{property[device]}`. In a FIFO queue order
    is kept within a group (default `{topic}`); in a standard queue groups share its consumers fairly (none by default)."""
    strict_order: bool = True
    """In a FIFO queue: never two messages of one group in one request, because SQS may take the later and refuse the earlier. With
    few groups that makes more requests; `pack` then makes few again."""
    pack: Literal["none", "jsonl", "gzip"] = "none"
    """Put many messages into one message of SQS, to cut the bill: `jsonl`, as JSON Lines; `gzip`, as JSON Lines, gzip, base64."""
    pack_framing: Literal["jsonl", "jsonl-exact"] = "jsonl"
    """The lines of a pack: `jsonl`, with a payload as JSON where it is JSON; `jsonl-exact`, with every payload as text, or as
    base64 where it is not text, so that any JSON parser restores every byte."""
    claim_check: ClaimCheck | None = None
    """Put payloads that do not fit into an S3 bucket."""
    max_message_bytes: ByteSize | None = Field(default=None, ge=1024, le=1024 * 1024, examples=["1MiB"])
    """Largest message that the queue takes; by default read from the queue, and 256 KiB where that is not permitted."""
    probe: bool = True
    """Check on opening that messages may be sent, by sending an empty batch, which SQS refuses after checking that."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        address = Address.parse(self.queue, self.account_id)
        if address.region is not None and self.region is not None and address.region != self.region:
            raise ValueError(f"the queue is in {address.region}, and region says {self.region}")
        if self.pack == "none" and self.pack_framing != "jsonl":
            raise ValueError("pack_framing needs pack: jsonl or gzip; a message that is not packed has its payload as the body")
        if self.pack != "none" and self.claim_check is not None:
            raise ValueError("pack and claim_check do not go together: a message that does not fit cannot be part of a pack")
        return self
