"""A consumer as `edgerouter.receiving` sees it: messages are acknowledged after the commit, and come in the stream's order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from nats.errors import ConnectionClosedError

from edgerouter import Message, SourceContext, Unavailable
from edgerouter.receiving import Leased
from edgerouter_nats.connection import Connection, Connector
from edgerouter_nats.incoming import Incoming
from edgerouter_nats.jetstream.consumer import Bound, Wanted, bind, settled
from edgerouter_nats.jetstream.kept import Kept
from edgerouter_nats.jetstream.publishing import Answers
from edgerouter_nats.jetstream.pulls import Pulls
from edgerouter_nats.jetstream.seen import Seen, place_of
from edgerouter_nats.outgoing import Posted
from edgerouter_nats.parser import Arrived, Skipped

_MOST: Final = 1000
"""Messages asked for, and acknowledged, at once."""
_SECONDS: Final = 10.0
_ACK: Final = "+ACK"
_AGAIN: Final = "-NAK"
_IN_PROGRESS: Final = "+WPI"
_TERMINATE: Final = "+TERM"
_TOO_LONG: Final = "longer than max_message_bytes"


class StreamService:
    """Receives from one durable consumer.

    Args:
        connector: of the source.
        wanted: the consumer.
        incoming: makes the messages.
        context: of the source.
        max_bytes: most bytes to ask for at once.
        domain: JetStream domain.
        ordered: wait for messages that a lost connection has left unacknowledged, so that none overtakes them.
    """

    most_received = _MOST
    most_acknowledged = _MOST

    def __init__(
        self,
        connector: Connector,
        wanted: Wanted,
        incoming: Incoming,
        context: SourceContext,
        *,
        max_bytes: int,
        domain: str | None,
        ordered: bool,
    ) -> None:
        self.what = wanted.what
        self.first_lease = self.lease = wanted.ack_wait
        self._connector = connector
        self._wanted = wanted
        self._incoming = incoming
        self._context = context
        self._max_bytes = max_bytes
        prefix = f"$JS.{domain}.API" if domain is not None else "$JS.API"
        self._subject = f"{prefix}.CONSUMER.MSG.NEXT.{wanted.stream}.{wanted.durable}"
        self._ordered = ordered
        self._bound = Bound(wanted.ack_wait, "")
        self._kept = Kept(None if context.probe else context.state, f"{wanted.stream} {wanted.durable}")
        self._seen = Seen()
        self._pulls: Pulls | None = None
        self._answers: Answers | None = None
        self._binding = asyncio.Lock()

    async def connect(self) -> None:
        connection = await self._connector.connection()
        await bind(connection, self._wanted, make=not self._context.probe)
        self._seen = await asyncio.to_thread(self._kept.load)

    async def receive(self, most: int) -> Sequence[Leased]:
        pulls = self._pulls
        if pulls is None or not (taken := pulls.take(most)):
            pulls = await self._ready()
            try:
                pulls.request(most)
            except ConnectionClosedError:
                raise pulls.connection.error from None
            await pulls.wait()
            taken = pulls.take(most)
        self._give_up(pulls)
        if not taken and pulls.connection.lost:
            raise pulls.connection.error
        return self._leased(taken)

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        """Acknowledge, and wait until the server has confirmed: an acknowledgement on its way is lost with a connection."""
        for handle in handles:
            if (place := place_of(handle)) is not None:
                self._seen.add(place)
        await asyncio.to_thread(self._kept.save, self._seen.ranges, self._seen.latest)
        incarnation = f"{self._bound.incarnation} "
        known = [handle for handle in handles if handle.startswith(incarnation)]
        return known if known and not await self._confirmed(known) else []

    async def extend(self, handles: Sequence[str]) -> None:
        connection = await self._connector.connection()
        self._post(connection, handles, _IN_PROGRESS)

    async def close(self) -> None:
        """Give back what has come and was not handed over, so that it need not wait for the end of its lease."""
        pulls = self._pulls
        if pulls is None or pulls.connection.lost:
            return
        pulls.end()
        with suppress(Unavailable, ConnectionClosedError):
            await pulls.connection.flush(1.0)
            self._post(pulls.connection, [f" {each.reply}" for each in pulls.take(10 * _MOST)], _AGAIN)
            await pulls.connection.flush(1.0)

    async def _ready(self) -> Pulls:
        """Return requests over a connection that works, bound anew where that is needed."""
        async with self._binding:
            connection = await self._connector.connection()
            pulls = self._pulls
            if pulls is not None and pulls.connection is connection and not pulls.gone:
                return pulls
            held: list[Arrived] = []
            if pulls is not None:
                pulls.end()
                held = pulls.take(10 * _MOST)
            bound = await bind(connection, self._wanted, make=True)
            self._bound = bound
            self.first_lease = self.lease = bound.ack_wait
            if self._ordered and not held:
                await settled(connection, self._wanted, bound.ack_wait)
            self._pulls = Pulls(connection, self._subject, self._max_bytes, held)
            return self._pulls

    def _leased(self, taken: Sequence[Arrived]) -> list[Leased]:
        incarnation, seen = self._bound.incarnation, self._seen
        leased = []
        for arrived, message in zip(taken, self._incoming.messages(taken), strict=True):
            reply = arrived.reply
            place = place_of(reply)
            kept: Message | None = message if place is None or place not in seen else None
            identity = f"{place.sequence} {place.timestamp}" if place is not None else reply
            leased.append(Leased(identity, f"{incarnation} {reply}", kept))
        return leased

    def _give_up(self, pulls: Pulls) -> None:
        """Have the stream send no more what is too long for us."""
        while pulls.too_long:
            skipped: Skipped = pulls.too_long.pop()
            with suppress(ConnectionClosedError):
                self._post(pulls.connection, [f" {skipped.reply}"], _TERMINATE)
            self._context.dropped(self._incoming.topic_of(self._wanted.stream), 1, _TOO_LONG)

    async def _confirmed(self, handles: Sequence[str]) -> bool:
        """Acknowledge, and return True once the server has confirmed the last one: it takes those of a connection in order."""
        connection = await self._connector.connection()
        answers = self._answers
        if answers is None or answers.connection is not connection:
            self._answers = answers = Answers(connection)
        write, waiting = answers.begin([Posted(0, "", b"", b"")])
        try:
            self._post(connection, handles[:-1], _ACK)
            self._post(connection, handles[-1:], _ACK, answers.addresses(write, 1)[0])
            await connection.client.drained()
            await asyncio.wait((waiting.done, connection.client.lost), timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except (ConnectionClosedError, OSError):
            raise connection.error from None
        finally:
            answers.end(write)
        answer = waiting.answers[0]
        # 503: JetStream has not started again yet, or the consumer is gone, which the next look finds out
        return answer is not None and not answer.headers.startswith(b"NATS/1.0 503")

    @staticmethod
    def _post(connection: Connection, handles: Sequence[str], what: str, reply: str = "") -> None:
        after = f" {reply} {len(what)}\r\n{what}\r\n" if reply else f" {len(what)}\r\n{what}\r\n"
        connection.client.post("".join([f"PUB {handle.rpartition(' ')[2]}{after}" for handle in handles]).encode())


@asynccontextmanager
async def closing(service: StreamService) -> AsyncIterator[StreamService]:
    """Close the service on exit."""
    try:
        yield service
    finally:
        await service.close()
