"""The source aws-sqs: messages of an SQS queue, deleted there once they are safe in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from edgerouter import Rejected, SourceContext, Unauthorized, Unavailable
from edgerouter.receiving import Leased, LeaseSource, ReceivedTopic, TopicSource
from edgerouter_aws.errors import Call, UnexpectedAnswer, of_code, of_service, translated
from edgerouter_aws.session import open_client
from edgerouter_aws.sqs.address import Address
from edgerouter_aws.sqs.received import message_of
from edgerouter_aws.sqs.source_config import SqsSourceConfig

_MOST: Final = 10
"""Messages of one ReceiveMessage, entries of one DeleteMessageBatch (SQS API reference)."""
_PATIENCE: Final = 15.0
"""Seconds that an answer may take beyond the time that the request asks to wait."""
_GONE: Final = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
"""The receipt is not good any more: the message is deleted, or comes again under another."""


class SqsSource(LeaseSource[SqsSourceConfig]):
    """Receives by long polling, up to 10 messages in an answer."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: SqsSourceConfig, context: SourceContext) -> AsyncIterator[_Queue]:
        address = Address.parse(config.queue, config.account_id)
        region = config.region or address.region
        call = Call(address.described(region), _needs(address, region))
        async with open_client("sqs", config, call, region=address.region, endpoint=address.endpoint) as client:
            yield _Queue(client, address, config, context)


def _needs(address: Address, region: str | None) -> str:
    return (
        f"sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on {address.arn(region)}"
        " (and kms:Decrypt on the key, with SSE-KMS)"
    )


class _Queue:
    """A queue as `edgerouter.receiving` sees it."""

    most_received = _MOST
    most_acknowledged = _MOST

    def __init__(self, client: Any, address: Address, config: SqsSourceConfig, context: SourceContext) -> None:
        region = client.meta.region_name
        self.what = address.described(region)
        self.first_lease = self.lease = float(int(config.visibility_timeout))
        self._client = client
        self._address = address
        self._url = address.url
        if self._url is None and address.account is not None:
            self._url = f"{client.meta.endpoint_url.rstrip('/')}/{address.account}/{address.name}"
        self._call = Call(self.what, _needs(address, region))
        self._wait = config.wait
        self._topic = ReceivedTopic(config.topic, TopicSource(address.name, context.name, context.host))

    async def connect(self) -> None:
        """Receive and delete nothing: SQS checks who asks and for which queue before it finds that nothing is asked for."""
        if self._url is None:
            needs = f"sqs:GetQueueUrl on {self._address.arn(self._client.meta.region_name)} (or give the queue as URL or ARN)"
            with of_service(Call(self.what, needs)):
                async with asyncio.timeout(_PATIENCE):
                    url = (await self._client.get_queue_url(QueueName=self._address.name)).get("QueueUrl")
            if not url:
                raise Unavailable(f"{self.what}: the answer is not one of SQS; is there a captive portal or a proxy in between?")
            self._url = str(url)
            self._call = Call(self.what, _needs(Address.parse(self._url, None), self._client.meta.region_name))
        await self._look(self._client.receive_message, MaxNumberOfMessages=0, WaitTimeSeconds=0)
        await self._look(self._client.delete_message_batch, Entries=[])

    async def _look(self, ask: Callable[..., Awaitable[Any]], **nothing: Any) -> None:
        try:
            with translated(self._call):
                async with asyncio.timeout(_PATIENCE):
                    await ask(QueueUrl=self._url, **nothing)
        except (Rejected, UnexpectedAnswer):
            return  # what SQS has against is only that nothing is asked for

    async def receive(self, most: int) -> Sequence[Leased]:
        with of_service(self._call):
            async with asyncio.timeout(self._wait + _PATIENCE):
                answer = await self._client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=most,
                    WaitTimeSeconds=int(self._wait),
                    VisibilityTimeout=int(self.lease),
                    MessageAttributeNames=["All"],
                )
        now, topic = time.time_ns(), self._topic
        return [
            Leased(entry["MessageId"], entry["ReceiptHandle"], message_of(entry, topic, now))
            for entry in answer.get("Messages") or ()
        ]

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        entries = [{"Id": str(place), "ReceiptHandle": handle} for place, handle in enumerate(handles)]
        with of_service(self._call):
            async with asyncio.timeout(_PATIENCE):
                answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        failed = [each for each in answer.get("Failed") or () if str(each.get("Code", "")).rpartition(".")[2] not in _GONE]
        told = {each["Id"] for each in (*(answer.get("Successful") or ()), *(answer.get("Failed") or ()))}
        if len(failed) == len(handles):
            first = failed[0]
            raise _unavailable(of_code(str(first.get("Code", "")), str(first.get("Message", "")), self._call, sender_fault=False))
        silent = [handle for place, handle in enumerate(handles) if str(place) not in told]
        return [*(handles[int(each["Id"])] for each in failed), *silent]

    async def extend(self, handles: Sequence[str]) -> None:
        entries = [
            {"Id": str(place), "ReceiptHandle": handle, "VisibilityTimeout": int(self.lease)}
            for place, handle in enumerate(handles)
        ]
        with of_service(self._call):
            async with asyncio.timeout(_PATIENCE):
                await self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def _unavailable(error: Unavailable | Rejected) -> Unavailable:
    return error if isinstance(error, Unavailable) else Unauthorized(str(error))
