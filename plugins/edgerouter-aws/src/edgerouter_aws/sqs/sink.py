"""The sink aws-sqs: messages in an SQS queue, standard or FIFO, one by one or packed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Hashable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self, cast

from edgerouter import Failure, Limits, Message, Rejected, Sink, SinkContext, Unavailable, WriteUnfinished
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
from edgerouter_aws.sqs.queue import MOST_BATCH_BYTES, MOST_ENTRIES, Entry, Queue, find_queue

_FIFO_MESSAGES = 100
"""Messages of one write to a FIFO queue: enough to find ten of different groups for each request."""
_FIFO_BYTES = 4 * MOST_BATCH_BYTES
_PART_OF_TIMEOUT = 1 / 3
"""After this part of its time a write begins nothing more. With few groups it has up to 100 requests, and large payloads to store,
which on a slow link would never all be answered in time, and be sent anew for ever."""
_NOT_TRIED = "it was not tried in this write, which had taken long"
_PACKED_MESSAGES = 10_000


class SqsSink(Sink[SqsConfig]):
    """Sends messages to a queue: up to 10 in one request to a standard queue; the other kinds are below."""

    Config = SqsConfig

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        self._queue = queue
        self._entries = Entries(config)
        self._claims = claims
        self._groups = Groups(config.group_id, context) if config.group_id is not None else None
        self._seconds = context.timeout * _PART_OF_TIMEOUT

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SqsConfig, context: SinkContext) -> AsyncIterator[Self]:
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
            yield cast("Self", kind(queue, config, context, claims))

    @property
    def limits(self) -> Limits:
        return Limits(MOST_ENTRIES, MOST_BATCH_BYTES, self._queue.max_message_bytes)

    def size_of(self, message: Message) -> int:
        if self._claims is not None and self._claims.is_for(message):
            return self._claims.size_of(message)
        return self._entries.size_of(message)

    async def write(self, batch: Sequence[Message]) -> Sequence[Failure]:
        entries, failures = await self._make(batch, self._end())
        if entries:
            places = list(entries)
            failures += [Failure(places[failed.index], failed.error) for failed in await self._queue.send(list(entries.values()))]
        return failures

    def _end(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def _make(self, batch: Sequence[Message], end: float) -> tuple[dict[int, Entry], list[Failure]]:
        """The entries of a batch by place, with large payloads stored; and what cannot be sent."""
        entries: dict[int, Entry] = {}
        failures: list[Failure] = []
        claimed: list[int] = []
        for place, message in enumerate(batch):
            if self._claims is not None and self._claims.is_for(message):
                claimed.append(place)
                continue
            try:
                entries[place] = self._entry(message)
            except Rejected as error:
                failures.append(Failure(place, error))
        if self._claims is not None and claimed:
            for place in claimed:
                if entries and _is_over(end):
                    failures.append(Failure(place, WriteUnfinished(_NOT_TRIED)))
                    continue
                try:
                    entries[place] = self._grouped(await self._claims.entry(batch[place]), batch[place])
                except (Unavailable, Rejected) as error:
                    failures.append(Failure(place, error))
            entries = dict(sorted(entries.items()))
        return entries, failures

    def _entry(self, message: Message) -> Entry:
        return self._grouped(self._entries.entry(message), message)

    def _grouped(self, entry: Entry, message: Message) -> Entry:
        if self._groups is not None:
            entry["MessageGroupId"] = self._groups.id_of(message)
        return entry


class FifoSqsSink(SqsSink):
    """Sends messages to a FIFO queue, in order within each group; a message that is sent again within 5 minutes is not doubled."""

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

    async def write(self, batch: Sequence[Message]) -> Sequence[Failure]:
        """Send in several requests, one after another; a group stops at its first message that was not taken."""
        end = self._end()
        entries, failures = await self._make(batch, end)
        places = list(entries)
        groups = {place: self._order.id_of(message) for place, message in enumerate(batch)}
        stopped = {groups[failed.index]: failed.index for failed in reversed(failures) if isinstance(failed.error, Unavailable)}
        sizes = [self.size_of(batch[place]) for place in places]
        plan = requests([groups[place] for place in places], sizes, strict=self._strict)
        settled = {failed.index for failed in failures}
        sent = False
        for request in plan:
            wanted = [place for place in (places[number] for number in request) if place < stopped.get(groups[place], len(batch))]
            if not wanted:
                continue
            if sent and _is_over(end):
                return failures + _behind(range(len(batch)), settled, WriteUnfinished(_NOT_TRIED))
            sent = True
            try:
                failed = await self._queue.send([entries[place] for place in wanted])
            except (Unavailable, Rejected) as error:
                if not settled - {failed.index for failed in failures}:
                    raise
                return failures + _behind(range(len(batch)), settled, error)
            settled.update(wanted)
            for failure in failed:
                place = wanted[failure.index]
                failures.append(Failure(place, failure.error))
                if isinstance(failure.error, Unavailable):
                    stopped[groups[place]] = min(place, stopped.get(groups[place], place))
        waiting = Unavailable("an earlier message of the same group was not taken")
        return failures + _behind(range(len(batch)), settled, waiting)


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

    async def write(self, batch: Sequence[Message]) -> Sequence[Failure]:
        for failure in await self._queue.send([self._pack(batch)]):
            raise failure.error  # a pack has one fate; the router halves one that is rejected
        return ()

    def _pack(self, batch: Sequence[Message]) -> Entry:
        return self._packs.entry(batch)


class GroupedPackedSqsSink(PackedSqsSink):
    """Sends each batch of one group as one message of SQS; in a FIFO queue a batch that is sent again is not doubled."""

    stable_batches = True  # a batch has one deduplication id, so a retry must be the same batch

    def __init__(self, queue: Queue, config: SqsConfig, context: SinkContext, claims: Claims | None) -> None:
        super().__init__(queue, config, context, claims)
        self._order = _groups_of_fifo(config, context)
        self._fifo = Address.parse(config.queue, config.account_id).fifo

    def partition_of(self, message: Message) -> Hashable:
        return self._order.id_of(message)

    def _pack(self, batch: Sequence[Message]) -> Entry:
        entry = super()._pack(batch)
        entry["MessageGroupId"] = self._order.id_of(batch[0])
        if self._fifo:
            entry["MessageDeduplicationId"] = f"{batch[0].id}-{batch[-1].sequence}-{len(batch)}"
        return entry


def _kind(config: SqsConfig, *, fifo: bool) -> type[SqsSink]:
    if config.pack != "none":
        return GroupedPackedSqsSink if fifo or config.group_id is not None else PackedSqsSink
    return FifoSqsSink if fifo else SqsSink


def _groups_of_fifo(config: SqsConfig, context: SinkContext) -> Groups:
    return Groups(config.group_id or "{topic}", context)


def _behind(places: Iterable[int], settled: Container[int], error: Unavailable | Rejected) -> list[Failure]:
    """What is left is written again. A request that holds a bad message comes first then, and the router looks for it in there."""
    cause = error if isinstance(error, Unavailable) else Unavailable(str(error))
    return [Failure(place, cause) for place in places if place not in settled]


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
