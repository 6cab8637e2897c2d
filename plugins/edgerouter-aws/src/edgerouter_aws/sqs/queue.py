"""One queue as the sink sees it: found by its address, its limits, and one request to send a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from edgerouter import Failure, Rejected, Unauthorized, Unavailable
from edgerouter_aws.errors import Call, UnexpectedAnswer, of_code, of_service, translated
from edgerouter_aws.operation import Operation
from edgerouter_aws.sqs.address import Address

MOST_ENTRIES = 10
MOST_BATCH_BYTES = 1024 * 1024
"""Most entries and bytes of one SendMessageBatch (SQS API reference)."""
_CAREFUL_MESSAGE_BYTES = 256 * 1024
"""Every queue takes this much, also those from before August 2025 that were never changed."""

Entry = dict[str, Any]


class _Taken(msgspec.Struct):
    """Entry that SQS took."""

    number: str | None = msgspec.field(default=None, name="Id")
    receipt: str | None = msgspec.field(default=None, name="MessageId")


class _NotTaken(msgspec.Struct):
    """Entry that SQS did not take, and its reason."""

    number: str | None = msgspec.field(default=None, name="Id")
    code: str | None = msgspec.field(default=None, name="Code")
    text: str | None = msgspec.field(default=None, name="Message")
    sender_fault: bool | None = msgspec.field(default=None, name="SenderFault")


class _Answer(msgspec.Struct):
    """Answer to a SendMessageBatch."""

    taken: list[_Taken] | None = msgspec.field(default=None, name="Successful")
    failed: list[_NotTaken] | None = msgspec.field(default=None, name="Failed")


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(_Answer)


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

    send_batch: Operation
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
        body = _ENCODER.encode({"QueueUrl": self.url, "Entries": entries})
        with translated(self.call):
            answer = _answer(await self.send_batch(body))
        taken = {each.number: each.receipt or "" for each in answer.taken or ()}
        failed = {each.number: each for each in answer.failed or ()}
        sent = Sent()
        for place, entry in enumerate(entries):
            number = entry["Id"]
            if number in failed or number not in taken:
                sent.failed.append(self._failure(place, failed.get(number)))
            else:
                sent.receipts[place] = taken[number]
        return sent

    def _failure(self, place: int, failed: _NotTaken | None) -> Failure:
        if failed is None:
            error = Unavailable(f"{self.call.what}: the answer does not say whether the message was taken")
            return Failure(place, error, may_have_arrived=True)
        return Failure(place, of_code(failed.code or "", failed.text or "", self.call, sender_fault=bool(failed.sender_fault)))


def _answer(body: bytes) -> _Answer:
    """Parse a success; one that is not of SQS, such as a captive portal's page, says nothing."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return _Answer()


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
    with of_service(call):
        send_batch = await Operation.prepare(client, "SendMessageBatch", QueueUrl=url, Entries=[])
    return Queue(send_batch, url, call, max_message_bytes)


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
