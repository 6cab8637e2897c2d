"""One receiver link to a partition of an event hub; like `producer_link`, it reaches below the public surface of azure-eventhub.

The public client calls back for every event with a sleep of 50 ms between its rounds, and starts from the configured position
again after an error. Here one call gives everything that has come, and a lost link is the caller's to open again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Self

from azure.eventhub.aio import EventHubConsumerClient

from edgerouter_azure.event_hubs.producer_link import _drop

_CLOSING_SECONDS = 2.0


class ConsumerLink:
    """An attached, authorized link. After any error it is to be dropped."""

    def __init__(self, consumer: Any, prefetch: int) -> None:
        self._handler = consumer._handler  # noqa: SLF001  (see above)
        self._buffer = consumer._message_buffer  # noqa: SLF001  (see above)
        self._prefetch = prefetch
        transport = getattr(self._handler._connection, "_transport", None)  # noqa: SLF001  (see above)
        self._writer = getattr(transport, "writer", None)
        """The SDK forgets it, open, where the peer cuts the connection."""

    @classmethod
    async def open(cls, client: EventHubConsumerClient, group: str, partition: str, offset: str, prefetch: int) -> Self:
        """Connect, log in, attach, behind this offset. Bounded in time by the caller.

        Raises:
            Exception: whatever the SDK raises, of many types; see `errors`.
        """
        consumer: Any = client._create_consumer(  # noqa: SLF001  (see above)
            group, partition, offset, _not_called, prefetch=prefetch
        )
        try:
            await consumer._open()  # noqa: SLF001  (see above)
        except BaseException:
            if consumer._handler is not None:  # noqa: SLF001  (see above)
                await _drop(consumer._handler)  # noqa: SLF001  (see above)
            raise
        return cls(consumer, prefetch)

    async def receive(self) -> Sequence[Any]:
        """Return received events, after waiting a moment for some; asks for more when all that was asked for has come.

        Raises:
            Exception: the link is gone.
        """
        if not await self._handler.do_work_async(batch=self._prefetch):
            raise ConnectionError("the link was closed")
        return self._taken()

    async def breathe(self) -> None:
        """Answer the peer's heartbeat and receive outstanding events, without requesting more.

        Raises:
            Exception: the link is gone.
        """
        await self._handler._connection.listen(wait=0.001, batch=self._prefetch)  # noqa: SLF001  (see above)

    async def close(self) -> None:
        """Say goodbye, for a short while."""
        with contextlib.suppress(Exception):  # the SDK raises anything on a connection that is gone; what matters is that it is
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._handler.close_async()
        await _drop(self._handler)
        if self._writer is not None:
            self._writer.transport.abort()

    def _taken(self) -> Sequence[Any]:
        buffer = self._buffer
        taken = list(buffer)
        buffer.clear()
        link = self._handler._link  # noqa: SLF001  (see above)
        link.get_state()  # raises what the link was detached with
        link._received_delivery_tags.clear()  # noqa: SLF001  (the SDK keeps every tag for ever)
        return taken


async def _not_called(*_: Any) -> None:
    """Events are taken from the buffer."""
