"""Event Hubs on the AMQP engine: tokens, management, partitions, batches of events, and consumers that read them back."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from support.amqp.codec import Described, MalformedAmqp, Timestamp
from support.amqp.engine import Connection
from support.amqp.faults import CloseConnection, Cut, DetachLink, Fault, FaultPlan, Outcome, Reject
from support.amqp.hub import Event, Hub
from support.amqp.links import Delivery, Link, Refused, Wire
from support.amqp.message import AmqpMessage, read_message
from support.amqp.performatives import MODIFIED, RELEASED, rejected
from support.amqp.request_nodes import answer_management, answer_put_token
from support.amqp.sas import Grant, Policy, TokenRefused, check_jwt, check_sas

BATCH_FORMAT = 0x80013700
PARTITION_KEY = "x-opt-partition-key"
JWT_AUDIENCE = "https://eventhubs.azure.net/"


class EventHubs:
    """Container with one namespace."""

    max_frame_size = 65536

    def __init__(self, *hubs: Hub, policies: Mapping[str, Policy], jwt_secret: str = "", inactivity: float | None = None) -> None:
        self.hubs = {hub.name.lower(): hub for hub in hubs}
        self.policies = dict(policies)
        self.jwt_secret = jwt_secret
        self.inactivity = inactivity
        self.faults = FaultPlan()
        self.problems: list[Exception] = []
        """Violations of the specification by clients; a test asserts that there are none."""
        self.connections: list[Connection] = []
        self.connected = self.deliveries = self.tokens = 0
        """Number of connections, deliveries to hubs and valid tokens."""
        self.clock_offset = 0.0
        """Seconds by which the service's clock is ahead of the machine's."""
        self.readers: dict[Link, int] = {}

    def opened(self, connection: Connection) -> None:
        self.connected += 1
        self.connections.append(connection)
        connection.state["grants"] = {}

    def gone(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        self.readers = {link: at for link, at in self.readers.items() if link.session.connection is not connection}

    def attached(self, link: Link) -> None:
        path = path_of(link.address)
        if path[0] in {"$cbs", "$management"}:
            return
        hub, partition = self.find(path)
        if self.faults.on_attach:
            raise Refused(self.faults.on_attach.condition, self.faults.on_attach.description)
        try:
            self._authorize(link, hub)
        except Refused as refusal:
            raise Refused(refusal.condition, refusal.description, attached=self.faults.attach_first) from None
        link.max_message_size = hub.max_message_size
        if link.incoming:
            link.window = hub.credit
        else:
            if partition is None:
                raise Refused("amqp:not-allowed", "a consumer reads from a partition")
            self.readers[link] = _start(link, hub.log[partition])

    def delivered(self, delivery: Delivery) -> None:
        path = path_of(delivery.link.address)
        if path[0] == "$cbs":
            answer_put_token(delivery, self._take_token)
        elif path[0] == "$management":
            answer_management(delivery, self.hubs)
        else:
            self.deliveries += 1
            self._authorize(delivery.link, self.find(path)[0])
            fault = self.faults.on_delivery(self.deliveries, delivery.payload)
            if fault is not None:
                self.faults.seen.append(fault)
            self._deliver(delivery, path, fault)

    def credited(self, link: Link) -> None:
        path = path_of(link.address)
        if path[0] in {"$cbs", "$management"}:
            return
        hub, partition = self.find(path)
        self.feed(link, hub.log[partition or 0])

    # -- producers

    def _deliver(self, delivery: Delivery, path: list[str], fault: Fault | None) -> None:
        match fault:
            case Reject(condition, description):
                delivery.settle(rejected(condition, description))
                return
            case DetachLink(condition, description):
                raise Refused(condition, description)
            case CloseConnection(condition, description):
                delivery.link.session.connection.close(condition, description)
                return
            case Cut.BEFORE:
                delivery.link.session.connection.abort()
                return
            case Outcome.RELEASED:
                delivery.settle(RELEASED)
                return
            case Outcome.MODIFIED:
                delivery.settle(MODIFIED)
                return
        try:
            self._store(delivery, path)
        except MalformedAmqp as problem:
            self.problems.append(problem)
            delivery.settle(rejected("amqp:decode-error", str(problem)))
            return
        if fault is Cut.AFTER:
            delivery.link.session.connection.abort()
        elif fault is not Cut.SILENT:
            delivery.settle()

    def _store(self, delivery: Delivery, path: list[str]) -> None:
        envelope = read_message(delivery.payload)
        key = _key(envelope)
        if delivery.message_format == BATCH_FORMAT:
            messages = [read_message(part) for part in envelope.data]
            if any(_key(message) not in {None, key} for message in messages):
                raise MalformedAmqp("an event whose partition key is not that of its batch")
        elif delivery.message_format == 0:
            messages = [envelope]
        else:
            raise MalformedAmqp(f"message format 0x{delivery.message_format:08x}")
        hub, partition = self.find(path)
        if partition is None:
            partition = hub.partition_for(key)
        elif key is not None:
            raise MalformedAmqp("a partition key on a link to a partition")
        log = hub.log[partition]
        log += [Event(partition, len(log) + n, key, message, self.deliveries) for n, message in enumerate(messages)]
        for reader in self.readers:
            if reader.attached and self.find(path_of(reader.address)) == (hub, partition):
                self.feed(reader, log)

    # -- consumers

    def feed(self, link: Link, log: list[Event]) -> None:
        while link.attached and link.credit > 0 and self.readers[link] < len(log):
            event = log[self.readers[link]]
            self.readers[link] += 1
            message = AmqpMessage(
                annotations={
                    "x-opt-sequence-number": event.sequence, "x-opt-offset": str(event.sequence),
                    "x-opt-enqueued-time": Timestamp(time.time() * 1000),
                    **({PARTITION_KEY: event.partition_key} if event.partition_key is not None else {}),
                },
                properties=event.message.properties, application_properties=event.message.application_properties,
                data=event.message.data, value=event.message.value,
            )  # fmt: skip
            link.send(message.encode())

    # -- authorization

    def _authorize(self, link: Link, hub: Hub) -> None:
        grants: dict[str, Grant] = link.session.connection.state["grants"]
        need, good = "Send" if link.incoming else "Listen", False
        for grant in grants.values():
            if path_of(grant.audience)[0] == hub.name.lower():
                if grant.expires <= time.time() + self.clock_offset:
                    raise Refused("amqp:unauthorized-access", "ExpiredToken: The token is expired.")
                good = good or need in grant.claims
        if not good:
            problem = f"Unauthorized access. '{need}' claim(s) are required to perform this operation."
            raise Refused("amqp:unauthorized-access", problem)

    def _take_token(self, connection: Wire, token: str, kind: str, audience: str) -> None:
        if self.faults.on_token:
            raise TokenRefused(*self.faults.on_token)
        now = time.time() + self.clock_offset
        if kind == "servicebus.windows.net:sastoken":
            grant = check_sas(token, audience, self.policies, now)
        elif kind == "jwt" and self.jwt_secret:
            grant = Grant(audience, check_jwt(token, self.jwt_secret, JWT_AUDIENCE), now + 3600)
        else:
            raise TokenRefused(400, f"UnsupportedToken: {kind}")
        self.tokens += 1
        connection.state["grants"][audience] = grant
        connection.later(max(0.0, grant.expires - now) + 0.01, lambda: self._expire(connection))

    def _expire(self, connection: Wire) -> None:
        for session in connection.sessions.values():
            for link in session.links.values():
                path = path_of(link.address)
                if link.attached and path[0] in self.hubs:
                    try:
                        self._authorize(link, self.hubs[path[0]])
                    except Refused as refusal:
                        link.detach(refusal.condition, refusal.description)

    def find(self, path: list[str]) -> tuple[Hub, int | None]:
        hub = self.hubs.get(path[0])
        if hub is None:
            raise Refused("amqp:not-found", f"The messaging entity 'sb://test/{path[0]}' could not be found.")
        if "partitions" not in path:
            return hub, None
        number = path[-1]
        if not number.isdigit() or int(number) >= hub.partitions:
            raise Refused("com.microsoft:argument-out-of-range", f"The specified partition is invalid: {number}")
        return hub, int(number)


def path_of(address: str) -> list[str]:
    return (urlsplit(address).path if "://" in address else address).strip("/").lower().split("/")


def _key(message: AmqpMessage) -> str | None:
    key = message.annotations.get(PARTITION_KEY)
    if key is not None and not isinstance(key, str):
        raise MalformedAmqp("a partition key that is not a string")
    return key


def _start(link: Link, log: list[Event]) -> int:
    filters = link.attach.source.value[7] if len(link.attach.source.value) > 7 else None
    for selector in (filters or {}).values():
        text = selector.value if isinstance(selector, Described) else selector
        if match := re.search(r"x-opt-(offset|sequence-number) (>=?) '(-?\d+|@latest)'", str(text)):
            if match[3] == "@latest":
                return len(log)
            return max(0, int(match[3]) + (match[2] == ">"))
    return 0
