"""One queue as the sink sees it: found by its address, its limits, and one request to send a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgerouter import Failure, Rejected, Unauthorized, Unavailable
from edgerouter_aws.errors import Call, UnexpectedAnswer, of_code, of_service, translated
from edgerouter_aws.sqs.address import Address

MOST_ENTRIES = 10
MOST_BATCH_BYTES = 1024 * 1024
"""Most entries and bytes of one SendMessageBatch (SQS API reference)."""
_CAREFUL_MESSAGE_BYTES = 256 * 1024
"""Every queue takes this much, also those from before August 2025 that were never changed."""

Entry = dict[str, Any]


@dataclass(slots=True)
class Sent:
    """Result of sending entries; places count in them."""

    failed: list[Failure] = field(default_factory=list)
    receipts: dict[int, str] = field(default_factory=dict)
    """Ids that SQS gave to the messages that it took, by place."""

    def at(self, places: Sequence[int]) -> Sent:
        """Return the same for entries that stand at these places of a batch."""
        failed = [replace(failure, index=places[failure.index]) for failure in self.failed]
        return Sent(failed, {places[place]: receipt for place, receipt in self.receipts.items()})


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that was reached."""

    client: Any
    url: str
    call: Call
    max_message_bytes: int

    async def send(self, entries: Sequence[Entry]) -> Sent:
        """Send up to 10 entries in one request.

        Raises:
            Unavailable: nothing was accepted, or the outcome is unknown.
            Rejected: one of the entries makes the request fail.
        """
        for place, entry in enumerate(entries):
            entry["Id"] = str(place)
        with translated(self.call):
            answer = await self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        taken = {told.get("Id"): str(told.get("MessageId", "")) for told in answer.get("Successful", ())}
        failed = {told.get("Id"): told for told in answer.get("Failed", ())}
        sent = Sent()
        for place, entry in enumerate(entries):
            number = entry["Id"]
            if number in failed or number not in taken:
                sent.failed.append(self._failure(place, failed.get(number)))
            else:
                sent.receipts[place] = taken[number]
        return sent

    def _failure(self, place: int, failed: Any) -> Failure:
        if failed is None:
            error = Unavailable(f"{self.call.what}: the answer does not say whether the message was taken")
            return Failure(place, error, may_have_arrived=True)
        code, text = str(failed.get("Code", "")), str(failed.get("Message", ""))
        return Failure(place, of_code(code, text, self.call, sender_fault=bool(failed.get("SenderFault"))))


async def find_queue(client: Any, address: Address, *, max_message_bytes: int | None, probe: bool) -> Queue:
    """The queue at an address, with its own limit, after finding out whether messages may be sent to it.

    Raises:
        Unavailable: with what is wrong and what to grant.
    """
    region = client.meta.region_name
    what, arn = address.described(region), address.arn(region)
    url = address.url
    if url is None and address.account is not None:
        url = f"{client.meta.endpoint_url.rstrip('/')}/{address.account}/{address.name}"
    if url is None:
        needs = f"sqs:GetQueueUrl on {arn} (or give the queue as URL or ARN)"
        with of_service(Call(what, needs)):
            url = str((await client.get_queue_url(QueueName=address.name)).get("QueueUrl", ""))
        if not url:
            raise Unavailable(f"{what}: the answer is not one of SQS; is there a captive portal or a proxy in between?")
        arn = Address.parse(url, None).arn(region)
    call = Call(what, f"sqs:SendMessage on {arn} (and kms:GenerateDataKey and kms:Decrypt on the key, with SSE-KMS)")
    if max_message_bytes is None:
        max_message_bytes = await _message_bytes(client, url, call)
    if probe:
        await _probe(client, url, call)
    return Queue(client, url, call, max_message_bytes)


async def _message_bytes(client: Any, url: str, call: Call) -> int:
    try:
        with of_service(call):
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["MaximumMessageSize"])
    except Unauthorized as error:
        if "permission is missing" not in str(error):
            raise
        return _CAREFUL_MESSAGE_BYTES  # sqs:GetQueueAttributes is not needed to send
    return int(answer.get("Attributes", {}).get("MaximumMessageSize", _CAREFUL_MESSAGE_BYTES))


async def _probe(client: Any, url: str, call: Call) -> None:
    """Send nothing: SQS checks who asks and for which queue before it finds the batch empty."""
    try:
        with translated(call):
            await client.send_message_batch(QueueUrl=url, Entries=[])
    except (Rejected, UnexpectedAnswer):
        return  # what it has against is only that there is nothing to send
