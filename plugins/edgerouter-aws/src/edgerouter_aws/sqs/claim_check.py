"""The claim check: a payload that does not fit into SQS goes to S3, and the message carries a reference."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edgerouter import Message, SinkContext
from edgerouter.objects import KeyTemplate
from edgerouter_aws.s3.bucket import Bucket
from edgerouter_aws.sqs.entry import Entries
from edgerouter_aws.sqs.queue import Entry

POINTER = "software.amazon.payloadoffloading.PayloadS3Pointer"
SIZE = "ExtendedPayloadSize"
"""Mark of a reference in Amazon's "SQS Extended Client Library"."""
_REFERENCE_BYTES = 2 * 1024
"""More than a reference and its attribute can take: the key has at most 1024 bytes, the bucket's name 63, an ARN some 200."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Stores payloads and makes entries that refer to them."""

    bucket: Bucket
    key: KeyTemplate
    over: int
    entries: Entries
    names: SinkContext

    def is_for(self, message: Message) -> bool:
        """Return True if this message's payload goes to S3."""
        return self.entries.size_of(message) > self.over

    def size_of(self, message: Message) -> int:
        """Bytes of the message that refers to it, never too few."""
        return _REFERENCE_BYTES + self.entries.attributes_size(message)

    async def entry(self, message: Message) -> Entry:
        """Store the payload and refer to it; doing it again stores the same object again.

        Raises:
            Unavailable, Rejected: the payload is not stored.
        """
        key = self.key.key_of([message], self.names)
        properties = message.properties
        media_type = (properties.content_type if properties is not None else None) or "application/octet-stream"
        await self.bucket.put(
            key, message.payload, {"ContentType": media_type if media_type.isascii() else "application/octet-stream"}
        )
        attributes: dict[str, Any] = self.entries.attributes(message)
        attributes[SIZE] = {"DataType": "Number", "StringValue": str(len(message.payload))}
        reference = [POINTER, {"s3BucketName": self.bucket.name, "s3Key": key}]
        return {"MessageBody": json.dumps(reference), "MessageAttributes": attributes}
