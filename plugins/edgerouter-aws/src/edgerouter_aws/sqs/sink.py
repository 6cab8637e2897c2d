"""The sink aws-sqs: messages in an SQS queue, standard or FIFO, one by one or packed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from edgerouter import Failure, Limits, Message, Outcome, Rejected, Sink, SinkContext, Unavailable
from edgerouter.objects import KeyTemplate
from edgerouter_aws.errors import Call
from edgerouter_aws.s3.bucket import Bucket, bucket_call, open_s3
from edgerouter_aws.session import open_client
from edgerouter_aws.sqs.address import Address
from edgerouter_aws.sqs.claim_check import Claims
from edgerouter_aws.sqs.config import SqsConfig
from edgerouter_aws.sqs.entry import Entries
from edgerouter_aws.sqs.groups import Groups, requests
from edgerouter_aws.sqs.packing import Packs
from edgerouter_aws.sqs.queue import MOST_BATCH_BYTES, MOST_ENTRIES, Entry, Queue, Sent, find_queue

_FIFO_MESSAGES = 100
"""Messages of one write to a FIFO queue: enough to find ten of different groups for each request."""
_FIFO_BYTES = 4 * MOST_BATCH_BYTES
_PART_OF_TIMEOUT = 1 / 3
"""After this part of its time a write begins nothing more. With few groups it has up to 100 requests, and large payloads to store,
which on a slow link would never all be answered in time, and be sent anew for ever."""
_PACKED_MESSAGES = 10_000


@dataclass(slots=True)
class _Made:
    """Entries of one batch by place, and the places without one."""

    entries: dict[int, Entry] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)
    untried: list[int] = field(default_factory=list)


class SqsSink(Sink[SqsConfig]):
    """Sends messages to a queue: up to 10 in one request to a standard queue; the other kinds are below."""

    partitioned = False

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        self._queue = queue
        self._entries = Entries(config)
        self._claims = claims
        self._groups = Groups(config.group_id, context) if config.group_id is not None else None
        self._seconds = context.timeout * _PART_OF_TIMEOUT

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SqsConfig, context: SinkContext) -> AsyncIterator[SqsSink]:
        """Connect, find the queue and its limit, and find out whether messages may be sent."""
        address = Address.parse(config.queue, config.account_id)
        region = config.region or address.region
        call = Call(address.described(region), f"sqs:SendMessage on {address.arn(region)}")
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                open_client("sqs", config, call, region=address.region, endpoint=address.endpoint)
            )
            queue = await find_queue(client, address, max_message_bytes=config.max_message_bytes, probe=config.probe)
            claims = await _open_claims(stack, config, context, queue, client.meta.region_name)
            kind = _kind(config, fifo=address.fifo)
            yield kind(queue, config, context, claims)

    @property
    def limits(self) -> Limits:
        return Limits(MOST_ENTRIES, MOST_BATCH_BYTES, self._queue.max_message_bytes)

    def size_of(self, message: Message) -> int:
        if self._claims is not None and self._claims.is_for(message):
            return self._claims.size_of(message)
        return self._entries.size_of(message)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return list(map(self._entries.size_of if self._claims is None else self.size_of, messages))

    async def write(self, batch: Sequence[Message]) -> Outcome:
        made = await self._make(batch, self._end())
        sent = Sent()
        if made.entries:
            sent = (await self._queue.send(list(made.entries.values()))).at(list(made.entries))
        return Outcome(made.failed + sent.failed, made.untried, list(sent.receipts.values()))

    def _end(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def _make(self, batch: Sequence[Message], end: float) -> _Made:
        """Make the entries of a batch, and store large payloads."""
        made = _Made()
        claims, entry_of = self._claims, self._entries.entry
        claimed: list[int] = []
        for place, message in enumerate(batch):
            if claims is not None and claims.is_for(message):
                claimed.append(place)
                continue
            try:
                made.entries[place] = self._grouped(entry_of(message), message)
            except Rejected as error:
                made.failed.append(Failure(place, error))
        if self._claims is not None and claimed:
            for place in claimed:
                if made.entries and _is_over(end):
                    made.untried.append(place)
                    continue
                try:
                    made.entries[place] = self._grouped(await self._claims.entry(batch[place]), batch[place])
                except (Unavailable, Rejected) as error:
                    made.failed.append(Failure(place, error))
            made.entries = dict(sorted(made.entries.items()))
        return made

    def _grouped(self, entry: Entry, message: Message) -> Entry:
        if self._groups is not None:
            entry["MessageGroupId"] = self._groups.id_of(message)
        return entry


class FifoSqsSink(SqsSink):
    """Sends messages to a FIFO queue, in order within each group; a message that is sent again within 5 minutes is not doubled."""

    ordered = True

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        super().__init__(queue, config, context, claims)
        self._order = _groups_of_fifo(config, context)
        self._groups = self._order
        self._strict = config.strict_order

    @property
    def limits(self) -> Limits:
        return Limits(_FIFO_MESSAGES, _FIFO_BYTES, self._queue.max_message_bytes)

    def order_of(self, message: Message) -> Hashable:
        return self._order.id_of(message)

    def _grouped(self, entry: Entry, message: Message) -> Entry:
        entry["MessageDeduplicationId"] = message.id
        return super()._grouped(entry, message)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        """Send in several requests, one after another; a group stops at its first message that was not taken."""
        end = self._end()
        made = await self._make(batch, end)
        places, failed = list(made.entries), made.failed
        groups = {place: self._order.id_of(message) for place, message in enumerate(batch)}
        missing = [*made.untried, *(failure.index for failure in failed if isinstance(failure.error, Unavailable))]
        stopped = {groups[place]: place for place in sorted(missing, reverse=True)}
        sizes = self.sizes_of([batch[place] for place in places])
        tried: set[int] = set()
        receipts: dict[int, str] = {}
        for request in requests([groups[place] for place in places], sizes, strict=self._strict):
            wanted = [place for place in (places[number] for number in request) if place < stopped.get(groups[place], len(batch))]
            if not wanted:
                continue
            if tried and _is_over(end):
                break
            try:
                sent = (await self._queue.send([made.entries[place] for place in wanted])).at(wanted)
            except (Unavailable, Rejected) as error:
                if not tried - {failure.index for failure in failed}:
                    raise
                failed += _none_of(wanted, error)
                break
            finally:
                tried.update(wanted)
            failed += sent.failed
            receipts |= sent.receipts
            for failure in sent.failed:
                if isinstance(failure.error, Unavailable):
                    group = groups[failure.index]
                    stopped[group] = min(failure.index, stopped.get(group, failure.index))
        tried.update(failure.index for failure in failed)
        untried = [place for place in range(len(batch)) if place not in tried]
        return Outcome(failed, untried, [receipts[place] for place in sorted(receipts)])


class PackedSqsSink(SqsSink):
    """Sends each batch as one message of SQS."""

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        super().__init__(queue, config, context, claims)
        self._packs = Packs(config.pack_framing, gzip=config.pack == "gzip")
        self._room = self._packs.room(queue.max_message_bytes)

    @property
    def limits(self) -> Limits:
        return Limits(_PACKED_MESSAGES, self._room, self._room)

    def size_of(self, message: Message) -> int:
        return self._packs.size_of(message)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return list(map(self._packs.size_of, messages))

    async def write(self, batch: Sequence[Message]) -> Outcome:
        sent = await self._queue.send([self._pack(batch)])
        for failure in sent.failed:
            raise failure.error  # a pack has one fate; the router halves one that is rejected
        return Outcome(receipts=sent.receipts[0])

    def _pack(self, batch: Sequence[Message]) -> Entry:
        return self._packs.entry(batch)


class GroupedPackedSqsSink(PackedSqsSink):
    """Sends each batch of one group as one message of SQS; in a FIFO queue a batch that is sent again is not doubled."""

    partitioned = True

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        super().__init__(queue, config, context, claims)
        self._order = _groups_of_fifo(config, context)
        self._fifo = Address.parse(config.queue, config.account_id).fifo

    @property
    def stable_batches(self) -> bool:
        return self._fifo  # a batch has one deduplication id, so a retry must be the same batch

    def partition_of(self, message: Message) -> Hashable:
        return self._order.id_of(message)

    def _pack(self, batch: Sequence[Message]) -> Entry:
        entry = super()._pack(batch)
        entry["MessageGroupId"] = self._order.id_of(batch[0])
        if self._fifo:
            entry["MessageDeduplicationId"] = f"{batch[0].id}-{batch[-1].place}-{len(batch)}"
        return entry


def _kind(config: SqsConfig, *, fifo: bool) -> type[SqsSink]:
    if config.pack != "none":
        return GroupedPackedSqsSink if fifo or config.group_id is not None else PackedSqsSink
    return FifoSqsSink if fifo else SqsSink


def _groups_of_fifo(config: SqsConfig, context: SinkContext) -> Groups:
    return Groups(config.group_id or "{topic}", context)


def _none_of(places: Sequence[int], error: Unavailable | Rejected) -> list[Failure]:
    """Fail a whole request. One that holds a bad message comes first in the next write, and the router looks for it in there."""
    if isinstance(error, Unavailable):
        return [Failure(place, error, may_have_arrived=True) for place in places]
    return [Failure(place, Unavailable(str(error))) for place in places]


def _is_over(end: float) -> bool:
    return asyncio.get_running_loop().time() >= end


async def _open_claims(
    stack: AsyncExitStack, config: SqsConfig, context: SinkContext, queue: Queue, region: str | None
) -> Claims | None:
    options = config.claim_check
    if options is None:
        return None
    region = options.region or region
    call = bucket_call(options.bucket, region)
    settings = config.model_copy(update={"region": region, "endpoint_url": options.endpoint_url or config.endpoint_url})
    client = await stack.enter_async_context(open_s3(settings, call))
    bucket = Bucket(client, options.bucket, call)
    if config.probe:
        await bucket.probe(options.key.partition("{")[0], parts=context.probe)
    over = min(options.over if options.over is not None else queue.max_message_bytes, queue.max_message_bytes)
    return Claims(bucket, KeyTemplate.parse(options.key), over, Entries(config), context)
