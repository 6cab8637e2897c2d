"""Puts events into a partition as another sender would."""

from __future__ import annotations

from typing import Any

from support.amqp.conformance import EventHubsServer
from support.amqp.event_hub import path_of
from support.amqp.hub import Event
from support.amqp.message import AmqpMessage


def put(server: EventHubsServer, partition: int, *payloads: bytes, **more: Any) -> None:
    """Store events, and send them to attached readers; `more` are further parts of the message."""
    service, log = server.service, server.hub.log[partition]
    for payload in payloads:
        log.append(Event(partition, len(log), None, AmqpMessage(data=[payload], **more), 0))
    for reader in list(service.readers):
        if reader.attached and service.find(path_of(reader.address))[1] == partition:
            service.feed(reader, log)


def spread(server: EventHubsServer, payloads: list[bytes]) -> None:
    """Store events in all partitions in turn."""
    for partition in range(server.hub.partitions):
        put(server, partition, *payloads[partition :: server.hub.partitions])
