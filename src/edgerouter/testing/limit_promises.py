"""Conformance tests of the limits that a sink states, and of the sizes that it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from edgerouter.errors import Rejected, Unavailable
from edgerouter.message import Message
from edgerouter.sink import Sink
from edgerouter.testing.delivery import batches, deliver
from edgerouter.testing.needs import LIMITS, needs
from edgerouter.testing.promises import SinkPromises
from edgerouter.testing.server import SinkServer


class LimitPromises(SinkPromises):
    """A sink takes what its limits allow, and knows what is beyond them."""

    async def test_the_limits_make_sense(self, config: Mapping[str, Any]) -> None:
        """Limits are positive, do not change while the sink is open, and a larger payload never counts as smaller."""
        async with self.opened(config) as sink:
            limits = sink.limits
            for limit in (limits.max_messages, limits.max_bytes, limits.max_message_bytes):
                assert limit is None or limit > 0, f"{limits}: a limit is positive, or `None` where there is none"
            if limits.max_bytes is not None and limits.max_message_bytes is not None:
                assert limits.max_message_bytes <= limits.max_bytes, f"{limits}: no message is larger than a batch"
            messages = [self.message(b"x" * length) for length in (1, 10, 100, 1000)]
            sizes = list(map(sink.size_of, messages))
            assert sink.sizes_of(messages) == sizes, "`sizes_of` says of each message what `size_of` says"
            assert sizes == sorted(sizes), "a longer payload is never smaller for `size_of`"
            assert sink.limits == limits, "`limits` stay as they are while the sink is open"
            for name in sorted(LIMITS):
                self._assert_limit_declared(name, getattr(limits, name))

    def _assert_limit_declared(self, name: str, limit: int | None) -> None:
        if limit is not None and limit <= self.largest_test_bytes:
            assert name not in self.unsupported, f"`{name}` is {limit} bytes, which can be tested: take it out of `unsupported`"
            return
        assert name in self.unsupported, (
            f'`{name}` is {limit}: declare it in `unsupported`, {{"{name}": "the service states no such limit"}}, or raise '
            "`largest_test_bytes` to test it"
        )

    async def test_as_many_messages_as_the_limit_allows_are_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """One batch of `max_messages` (1000 if there is no such limit) in one write."""
        async with self.opened(config) as sink:
            messages = self.messages(min(sink.limits.max_messages or 1000, 1000))
            first = next(batches(sink, messages))
            batch = [messages[place] for place in first]
            assert len(first) > 1 or sink.limits.max_messages == 1
            try:
                await self.taken(sink, batch)
            except (Rejected, Unavailable) as error:
                raise AssertionError(
                    f"the service refused {len(batch)} messages, which the limits allow: {error!r}; `limits` are those of the "
                    "service"
                ) from error
        await self.assert_received(server, batch)

    @needs("max_bytes")
    async def test_as_many_bytes_as_the_limit_allows_are_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A batch whose sizes add up to `max_bytes`, as the sink counts them."""
        async with self.opened(config) as sink:
            limit = self.limit_to_reach(sink, "max_bytes")
            largest = min(sink.limits.max_message_bytes or limit, max(limit // 3, 1))
            batch: list[Message] = []
            size = 0
            while len(batch) < (sink.limits.max_messages or 50):
                message = self.filling(sink, min(largest, limit - size), len(batch) + 1)
                if message is None:
                    break
                batch.append(message)
                size += sink.size_of(message)
            assert size <= limit
            await self.taken(sink, batch)
        await self.assert_received(server, batch)

    @needs("max_message_bytes")
    async def test_a_message_of_the_largest_size_is_delivered(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A message whose `size_of` is `max_message_bytes`."""
        async with self.opened(config) as sink:
            message = self.filling(sink, self.limit_to_reach(sink, "max_message_bytes"))
            assert message is not None
            await self.taken(sink, [message])
        await self.assert_received(server, [message])

    @needs("max_message_bytes")
    @pytest.mark.parametrize("unit", ["é".encode(), b"\xff", b'"'], ids=["unicode", "binary", "quotes"])
    async def test_sizes_are_those_of_the_bytes_that_are_sent(
        self, server: SinkServer, config: Mapping[str, Any], unit: bytes
    ) -> None:
        """Multi-byte characters and encoded or escaped data count with their size on the wire."""
        async with self.opened(config) as sink:
            limit = self.limit_to_reach(sink, "max_message_bytes")
            message = self.filling(sink, limit, unit=unit)
            assert message is not None, "not even an empty message is within `max_message_bytes`"
            batch = [message]
            small = self.message(b"small", 2)
            if (sink.limits.max_messages or 2) > 1 and sink.size_of(message) + sink.size_of(small) <= (
                sink.limits.max_bytes or limit * 2
            ):
                batch.append(small)
            failures = await deliver(sink, batch)
            text = unit != b"\xff"
            assert not failures or not (text or self.accepts_binary), (
                f"`size_of` counts {sink.size_of(message)} bytes, the limit is {limit}, and the service refused it: {failures}"
            )
        await self._assert_same_set(server, batch[len(failures) :])

    @needs("max_message_bytes")
    async def test_a_message_over_the_largest_size_is_known_to_be(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """`size_of` reveals that the service would refuse it, and the other messages of the batch are delivered."""
        good = self.messages(2)
        async with self.opened(config) as sink:
            limit = self.limit_to_reach(sink, "max_message_bytes")
            big = self.message(b"x" * (limit + 1), 3)
            assert sink.size_of(big) > limit, "`size_of` says what the message adds to a request, never too little"
            failures = await deliver(sink, [good[0], big, good[1]])
        assert [failure.index for failure in failures] == [1]
        assert isinstance(failures[0].error, Rejected)
        await self.assert_received(server, good)

    def limit_to_reach(self, sink: Sink[Any], name: str) -> int:
        """Return a limit that is tested at its edge."""
        limit: int | None = getattr(sink.limits, name)
        assert limit is not None
        return limit

    def filling(self, sink: Sink[Any], size: int, sequence: int = 1, *, unit: bytes = b"x") -> Message | None:
        """Build a message with the largest payload whose `size_of` is at most `size`; `None` if even an empty one exceeds it."""
        low, high = -1, size + 1
        while high - low > 1:
            middle = (low + high) // 2
            if sink.size_of(self.message(unit * middle, sequence)) <= size:
                low = middle
            else:
                high = middle
        return self.message(unit * low, sequence) if low >= 0 else None

    async def _assert_same_set(self, server: SinkServer, messages: Sequence[Message]) -> None:
        received = await server.received()
        assert sorted(item.payload for item in received) == sorted(self.expected(message) for message in messages), (
            "consumers got other messages than those that the sink says are delivered, some changed, or some twice"
        )
        self._assert_labels(received, messages)
