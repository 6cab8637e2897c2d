"""The private names of azure-eventhub that `producer_link` uses are still there; see docs/decisions/020."""

from __future__ import annotations

import inspect

from azure.eventhub._pyamqp.aio._client_async import SendClientAsync
from azure.eventhub._pyamqp.aio._connection_async import Connection
from azure.eventhub._pyamqp.aio._sender_async import PendingDelivery, SenderLink
from azure.eventhub._pyamqp.aio._session_async import Session
from azure.eventhub._pyamqp.performatives import TransferFrame
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.aio._producer_async import EventHubProducer


def test_the_private_names_are_there() -> None:
    producer = inspect.getsource(EventHubProducer) + inspect.getsource(EventHubProducer.__mro__[1])
    link = inspect.getsource(SenderLink) + inspect.getsource(SenderLink.__mro__[1])
    used = {
        "_create_producer(*, partition_id": hasattr(EventHubProducerClient, "_create_producer")
        and "partition_id" in inspect.signature(EventHubProducerClient._create_producer).parameters,
        "EventHubProducer._open": hasattr(EventHubProducer, "_open"),
        "EventHubProducer._handler": "self._handler" in producer,
        "EventHubProducer._create_handler(auth)": list(inspect.signature(EventHubProducer._create_handler).parameters)
        == ["self", "auth"],
        "SendClientAsync._link_credit": "link_credit=self._link_credit" in inspect.getsource(SendClientAsync),
        "EventHubProducer._max_message_size_on_link": "self._max_message_size_on_link" in producer,
        "SendClientAsync.client_ready_async": hasattr(SendClientAsync, "client_ready_async"),
        "SendClientAsync.do_work_async": hasattr(SendClientAsync, "do_work_async"),
        "SendClientAsync.close_async": hasattr(SendClientAsync, "close_async"),
        "Connection.listen(wait=)": "wait" in inspect.signature(Connection.listen).parameters,
        "Connection._error": "self._error" in inspect.getsource(Connection),
        "Connection._transport": "self._transport" in inspect.getsource(Connection),
        "Session._outgoing_transfer(delivery, network_trace_params)": list(inspect.signature(Session._outgoing_transfer).parameters)
        == ["self", "delivery", "network_trace_params"],
        "PendingDelivery.on_delivery_settled": "on_delivery_settled" in inspect.getsource(PendingDelivery),
        "SenderLink._pending_deliveries": "self._pending_deliveries" in link,
        "SenderLink.current_link_credit": "self.current_link_credit" in link,
        "TransferFrame, as SenderLink fills it": set(TransferFrame._fields)
        == {
            "handle", "delivery_id", "delivery_tag", "message_format", "settled", "more", "rcv_settle_mode", "state", "resume",
            "aborted", "batchable", "payload",
        },
    }  # fmt: skip
    missing = [name for name, there in used.items() if not there]
    assert not missing, f"azure-eventhub lacks {missing}: read docs/decisions/020 before changing producer_link.py"
