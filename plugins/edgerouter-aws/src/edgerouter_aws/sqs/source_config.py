"""The configuration of the source aws-sqs."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from edgerouter import ByteSize, Duration, SourceConfig
from edgerouter.receiving import TopicTemplate
from edgerouter_aws.session import AwsSettings
from edgerouter_aws.sqs.address import Address


class SqsSourceConfig(AwsSettings, SourceConfig):
    """Messages from an SQS queue, standard or FIFO; deleted there once they are safe here."""

    queue: str = Field(min_length=1)
    """Name, URL or ARN of the queue."""
    account_id: str | None = Field(default=None, pattern=r"^\d{12}$")
    """Account that owns the queue, when `queue` is a name and the account is not that of the credentials."""
    topic: TopicTemplate = "{topic}"
    """Topic that the messages get, fixed or a template (docs/reference/templates.md) such as `cloud/{place}/{attribute[kind]}`.
    `{topic}` is the attribute `topic` as the sink aws-sqs sets it, and the queue's name where there is none, as is `{place}`."""
    visibility_timeout: Duration = Field(default=60.0, ge=2, le=43_200)
    """Time for which SQS hides a message from other consumers while it waits here to be stored; extended while it waits. After a
    crash, messages that were not stored arrive again after this."""
    wait: Duration = Field(default=20.0, ge=0, le=20)
    """Time for which one request waits for messages (long polling)."""
    polls: int = Field(default=4, ge=1, le=100)
    """Requests at once while there is much to receive, of up to 10 messages each; otherwise there is one."""
    max_unacknowledged: int = Field(default=2000, ge=1, le=100_000)
    """Most messages held that are not stored yet; then nothing is asked for."""
    max_unacknowledged_bytes: ByteSize = Field(default=32 * 1024**2, ge=1024)
    """Bytes held that are not stored yet, after which nothing is asked for; the answers under way still come."""

    @model_validator(mode="after")
    def _one_region(self) -> Self:
        address = Address.parse(self.queue, self.account_id)
        if address.region is not None and self.region is not None and address.region != self.region:
            raise ValueError(f"the queue is in {address.region}, and region says {self.region}")
        return self
