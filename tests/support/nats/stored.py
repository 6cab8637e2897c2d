"""Messages that a stream holds, or that a subscriber has got, as a test wants to see them."""

from __future__ import annotations

from typing import NamedTuple

from nats.aio.client import Client


class Stored(NamedTuple):
    """One message of a stream."""

    subject: str
    payload: bytes
    headers: dict[str, str]

    @property
    def id(self) -> str:
        """Id of the message at its router."""
        return self.headers.get("Nats-Msg-Id", "")


async def stored_in(url: str, stream: str, *, batch: int = 1000) -> list[Stored]:
    """Return all messages of a stream, in order."""
    client = Client()
    await client.connect(url)
    try:
        context = client.jetstream()
        state = (await context.stream_info(stream)).state
        if not state.messages:
            return []
        consumer = await context.pull_subscribe("", stream=stream)
        found: list[Stored] = []
        while len(found) < state.messages:
            for each in await consumer.fetch(min(batch, state.messages - len(found)), timeout=10):
                found.append(Stored(each.subject, each.data, dict(each.headers or {})))
                await each.ack()
        return found
    finally:
        await client.close()
