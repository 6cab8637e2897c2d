"""The two request-response nodes of a namespace: `$cbs`, which accepts tokens, and `$management`, which describes hubs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from support.amqp.codec import Array, Timestamp
from support.amqp.hub import Hub
from support.amqp.links import Delivery, Refused, Wire
from support.amqp.message import AmqpMessage, read_message
from support.amqp.sas import TokenRefused


def answer_put_token(delivery: Delivery, take: Callable[[Wire, str, str, str], None]) -> None:
    """Answer a put-token request; `take` gets the connection, the token, its kind and its audience."""
    request = read_message(delivery.payload)
    wanted = request.application_properties
    delivery.settle()
    if wanted.get("operation") != "put-token" or not isinstance(request.value, str):
        _answer(delivery, request, 400, "put-token and a token are expected", None)
        return
    try:
        take(delivery.link.session.connection, request.value, str(wanted.get("type")), str(wanted.get("name")))
    except TokenRefused as refusal:
        _answer(delivery, request, refusal.status, str(refusal), None)
    else:
        _answer(delivery, request, 202, "Accepted", None)


def answer_management(delivery: Delivery, hubs: Mapping[str, Hub]) -> None:
    """Answer a READ of a hub or of a partition."""
    request = read_message(delivery.payload, bodiless=True)
    wanted = request.application_properties
    delivery.settle()
    hub = hubs.get(str(wanted.get("name")).lower())
    if wanted.get("operation") != "READ" or not delivery.link.session.connection.state["grants"]:
        _answer(delivery, request, 401, "a READ with a token is expected", None)
    elif hub is None:
        _answer(delivery, request, 404, "The messaging entity could not be found.", None)
    elif wanted.get("type") == "com.microsoft:eventhub":
        _answer(delivery, request, 200, "OK", _hub_facts(hub))
    elif wanted.get("type") == "com.microsoft:partition":
        _answer(delivery, request, 200, "OK", _partition_facts(hub, int(wanted["partition"])))
    else:
        _answer(delivery, request, 400, "no such type", None)


def _answer(delivery: Delivery, request: AmqpMessage, status: int, text: str, value: Any) -> None:
    address = delivery.link.address
    back = next((each for each in delivery.link.session.links.values() if not each.incoming and each.address == address), None)
    if back is None or back.credit <= 0:
        raise Refused("amqp:not-allowed", f"no way back from {address}")
    answer = AmqpMessage(
        properties={"correlation-id": request.properties.get("message-id")},
        application_properties={"status-code": status, "status-description": text},
        value=value if value is not None else "",
    )
    back.send(answer.encode())


def _hub_facts(hub: Hub) -> dict[str, Any]:
    ids = Array(str(number) for number in range(hub.partitions))
    return {"name": hub.name, "created_at": Timestamp(hub.created * 1000), "partition_count": hub.partitions, "partition_ids": ids}


def _partition_facts(hub: Hub, number: int) -> dict[str, Any]:
    log = hub.log[number]
    last = len(log) - 1
    return {
        "name": hub.name, "partition": str(number), "begin_sequence_number": 0, "last_enqueued_sequence_number": last,
        "last_enqueued_offset": str(last), "last_enqueued_time_utc": Timestamp(time.time() * 1000), "is_partition_empty": not log,
    }  # fmt: skip
