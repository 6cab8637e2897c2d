"""One sender link to an event hub: the only module that reaches below the public surface of azure-eventhub.

`send_batch` sends twice on any error, waits for ever for an outcome it does not know, and costs 24 us a message
(docs/decisions/020). Here one call is one transfer of bytes that are already encoded, and every outcome is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any, Self

from azure.eventhub._pyamqp.aio._sender_async import PendingDelivery
from azure.eventhub._pyamqp.constants import ConnectionState, LinkDeliverySettleReason, SessionTransferState
from azure.eventhub.aio import EventHubProducerClient

from edgerouter_azure.event_hubs.encoding import BATCH_FORMAT

_CLOSING_SECONDS = 2.0
_WELCOME_SECONDS = 1.0
"""A service that gives no credit for so long may be busy, and will give some later."""
_TAG = struct.Struct(">I")


class SendRejected(Exception):
    """The service did not take the batch, and said so: the link stays good.

    Args:
        condition: such as `com.microsoft:server-busy`; `amqp:released` where the service only gave it back.
        text: what the service says about it.
    """

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition, self.text = condition, text


class ProducerLink:
    """An attached, authorized link; one send at a time. After any error but `SendRejected` it is to be dropped."""

    def __init__(self, handler: Any, max_message_size: int) -> None:
        self.max_message_size = max_message_size
        """Bytes that one send may have, as the service told."""
        self.used = asyncio.get_running_loop().time()
        """Time of the peer's last frame, by the loop's clock."""
        self._handler = handler

    @classmethod
    async def open(cls, client: EventHubProducerClient, partition_id: str | None) -> Self:
        """Connect, log in, attach. Bounded in time by the caller.

        Raises:
            Exception: whatever the SDK raises, of many types; see `errors`.
        """
        producer = client._create_producer(partition_id=partition_id)  # noqa: SLF001  (see above)
        _trust_only_given_credit(producer)
        try:
            await producer._open()  # noqa: SLF001  (see above)
            link = cls(producer._handler, producer._max_message_size_on_link)  # noqa: SLF001  (see above)
            await link._welcomed()
        except BaseException:
            if producer._handler is not None:  # noqa: SLF001  (see above)
                await _drop(producer._handler)  # noqa: SLF001  (see above)
            raise
        return link

    async def _welcomed(self) -> None:
        """Wait for credit: a refused link is attached first and detached then, so that only credit proves it accepted."""
        now = asyncio.get_running_loop().time
        deadline = now() + _WELCOME_SECONDS
        while self._handler._link.current_link_credit <= 0 and now() < deadline:  # noqa: SLF001  (see above)
            self._demand_open()
            await self._handler.do_work_async()
        self._demand_open()

    async def ready(self, *, look: bool) -> None:
        """Renew the token if it is due; with `look`, also read what the peer sent meanwhile and answer its heartbeat.

        Raises:
            Exception: the link is gone. Nothing was sent.
        """
        while not await self._handler.client_ready_async():
            self._demand_open()
            await asyncio.sleep(0)
        if look:
            connection = self._handler._connection  # noqa: SLF001  (see above)
            await connection.listen(wait=0.001)  # a frame that waits is read at once; without one this is over in a millisecond
            self._demand_open()
            self.used = asyncio.get_running_loop().time()

    async def send(self, payload: bytes) -> None:
        """Send one batch and wait for its outcome. Bounded in time by the caller.

        Raises:
            SendRejected: it was not taken.
            Exception: it is unknown whether it was accepted.
        """
        outcome: asyncio.Future[tuple[Any, Any]] = asyncio.get_running_loop().create_future()

        async def settled(reason: Any, state: Any) -> None:
            if not outcome.done():
                outcome.set_result((reason, state))

        await self._transfer(payload, settled)
        while not outcome.done():
            await self._handler.do_work_async()
            if not outcome.done():
                self._demand_open()
        self.used = asyncio.get_running_loop().time()
        self._judge(*outcome.result())

    async def close(self) -> None:
        """Say goodbye, for a short while."""
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._handler.close_async()
        except Exception:  # noqa: BLE001  (the SDK raises anything on a connection that is gone; what matters is that it is)
            await _drop(self._handler)

    async def drop(self) -> None:
        """Cut the connection."""
        await _drop(self._handler)

    async def _transfer(self, payload: bytes, settled: Any) -> None:
        link = self._handler._link  # noqa: SLF001  (see above)
        delivery = PendingDelivery(  # type: ignore[no-untyped-call]
            on_delivery_settled=settled, network_trace_params=link.network_trace_params
        )
        while True:
            tag = _TAG.pack((link.delivery_count + 1) & 0xFFFFFFFF)
            delivery.frame = {
                "handle": link.handle, "delivery_tag": tag, "message_format": BATCH_FORMAT, "settled": False, "more": False,
                "rcv_settle_mode": None, "state": None, "resume": None, "aborted": None, "batchable": None, "payload": payload,
            }  # fmt: skip
            if link.current_link_credit > 0:
                await link._session._outgoing_transfer(delivery, None)  # noqa: SLF001  (see above)
                if delivery.transfer_state is not SessionTransferState.BUSY:
                    break
            self._demand_open()
            await self._handler.do_work_async()  # the window or the credit is used up: the peer will say when it is not
        link.delivery_count += 1
        link.current_link_credit -= 1
        delivery.sent = True
        link._pending_deliveries.append(delivery)  # noqa: SLF001  (see above)

    def _demand_open(self) -> None:
        """Raise what ended the link or the connection, if anything did."""
        connection = self._handler._connection  # noqa: SLF001  (see above)
        if connection._error is not None:  # noqa: SLF001  (see above)
            raise connection._error  # noqa: SLF001  (see above)
        if connection.state is not ConnectionState.OPENED:
            raise ConnectionError("the connection was closed")
        self._handler._link.get_state()  # noqa: SLF001  (raises what the link was detached with)

    def _judge(self, reason: Any, state: Any) -> None:
        if reason is not LinkDeliverySettleReason.DISPOSITION_RECEIVED:
            self._demand_open()
            raise ConnectionError("the link was closed before the outcome was known")
        outcome = next(iter(state), "") if isinstance(state, dict) else ""
        if outcome == "accepted":
            return
        if outcome != "rejected":
            raise SendRejected(f"amqp:{outcome or 'undecided'}", "the service gave the batch back")
        error = next(iter(state[outcome] or ()), None) or (b"amqp:internal-error", None, None)
        condition, text = (part.decode(errors="replace") if isinstance(part, bytes) else str(part or "") for part in error[:2])
        raise SendRejected(condition, text)


def _trust_only_given_credit(producer: Any) -> None:
    """The SDK takes 10,000 credits for granted, at the start and whenever none are left; a service may end a link for that."""
    create = producer._create_handler  # noqa: SLF001  (see above)

    def create_without_credit(auth: Any) -> None:
        create(auth)
        producer._handler._link_credit = 0  # noqa: SLF001  (see above)

    producer._create_handler = create_without_credit  # noqa: SLF001  (see above)


async def _drop(handler: Any) -> None:
    """End the connection at once; the SDK's own close, and a TLS farewell, may wait for a peer that is gone."""
    transport = getattr(handler._connection, "_transport", None)  # noqa: SLF001  (see above)
    writer, session = getattr(transport, "writer", None), getattr(transport, "session", None)
    if writer is not None:
        writer.transport.abort()
    if session is not None:
        connection = getattr(getattr(getattr(transport, "sock", None), "_response", None), "connection", None)
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
            connection.close()  # else it warns when it is collected before the response that would do it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await session.close()
