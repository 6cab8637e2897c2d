"""The configuration of the source aws-sqs."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from edgerouter import Duration
from edgerouter.receiving import LeaseConfig
from edgerouter_aws.session import AwsSettings
from edgerouter_aws.sqs.address import Address


class SqsSourceConfig(AwsSettings, LeaseConfig):
    """Configuration of the source `aws-sqs`: a queue, standard or FIFO; messages are deleted there once they are stored here."""

    queue: str = Field(min_length=1, examples=["plant-commands"])
    """Name, URL or ARN of the queue."""
    account_id: str | None = Field(default=None, pattern=r"^\d{12}$", examples=["123456789012"])
    """Account that owns the queue, when `queue` is a name and the account is not that of the credentials."""
    visibility_timeout: Duration = Field(default=60.0, ge=2, le=43_200)
    """Time for which SQS hides a message from other consumers while it waits here to be stored; extended while it waits. After a
    crash, messages that were not stored arrive again after this."""
    wait: Duration = Field(default=20.0, ge=0, le=20, examples=["10s"])
    """Time for which one request waits for messages (long polling)."""
    max_unacknowledged: int = Field(default=2000, ge=1, le=100_000)
    """Most messages held that are not stored yet; then nothing is requested."""

    @model_validator(mode="after")
    def _one_region(self) -> Self:
        address = Address.parse(self.queue, self.account_id)
        if address.region is not None and self.region is not None and address.region != self.region:
            raise ValueError(f"the queue is in {address.region}, and region says {self.region}")
        return self
