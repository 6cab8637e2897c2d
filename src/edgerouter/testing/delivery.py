"""Miniature of the router: writes messages to a sink as the engine does, for tests of sinks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from edgerouter.errors import Rejected
from edgerouter.message import Message
from edgerouter.outcome import Failure
from edgerouter.sink import Sink

Place = int


def batches(sink: Sink[Any], messages: Sequence[Message]) -> Iterator[list[Place]]:
    """Yield batches that the sink's `limits` and `partition_of` allow, as indexes into `messages`, in order."""
    limits, sizes = sink.limits, sink.sizes_of(messages)
    for places in _partitions(sink, messages):
        batch: list[Place] = []
        size = 0
        for place in places:
            too_many = limits.max_messages is not None and len(batch) >= limits.max_messages
            too_big = limits.max_bytes is not None and size + sizes[place] > limits.max_bytes
            if batch and (too_many or too_big):
                yield batch
                batch, size = [], 0
            batch.append(place)
            size += sizes[place]
        if batch:
            yield batch


def _partitions(sink: Sink[Any], messages: Sequence[Message]) -> Iterable[Sequence[Place]]:
    if not sink.partitioned:
        return [range(len(messages))]
    partitions: dict[Hashable, list[Place]] = {}
    for place, message in enumerate(messages):
        partitions.setdefault(sink.partition_of(message), []).append(place)
    return partitions.values()


async def deliver(sink: Sink[Any], messages: Sequence[Message]) -> list[Failure]:
    """Write all messages once, in batches within the sink's limits, and bisect a rejected batch; no retries.

    Returns:
        failures; `index` counts in `messages`.

    Raises:
        Unavailable: as the sink raised it.
    """
    largest = sink.limits.max_message_bytes
    failures: list[Failure] = []
    fit: list[Place] = []
    for place, message in enumerate(messages):
        if largest is not None and sink.size_of(message) > largest:
            failures.append(Failure(place, Rejected(f"larger than {largest} bytes")))
        else:
            fit.append(place)
    for batch in batches(sink, [messages[place] for place in fit]):
        failures += await _write(sink, messages, [fit[place] for place in batch])
    return sorted(failures, key=lambda failure: failure.index)


async def _write(sink: Sink[Any], messages: Sequence[Message], places: Sequence[Place]) -> list[Failure]:
    try:
        outcome = await sink.write([messages[place] for place in places])
    except Rejected as error:
        if len(places) == 1:
            return [Failure(places[0], error)]
        middle = len(places) // 2
        first = await _write(sink, messages, places[:middle])
        return first + await _write(sink, messages, places[middle:])
    failures = [replace(failure, index=places[failure.index]) for failure in outcome.failed]
    if not outcome.untried:
        return failures
    assert len(outcome.untried) < len(places), "the sink tried none of the messages"
    return failures + await _write(sink, messages, [places[place] for place in outcome.untried])
