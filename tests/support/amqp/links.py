"""Sessions and links of the server side: windows, credit, deliveries in several frames, outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from support.amqp import performatives as p
from support.amqp.codec import Described, MalformedAmqp

_WINDOW = 256
_CREDIT = 100


class Wire(Protocol):
    """Parts of a connection that a session needs."""

    max_frame_out: int
    sessions: dict[int, Session]
    state: dict[str, Any]

    @property
    def container(self) -> Nodes: ...
    def send(self, channel: int, performative: p.Performative | None, payload: bytes = b"") -> None: ...
    def close(self, condition: str | None = None, description: str = "") -> None: ...
    def abort(self) -> None: ...
    def later(self, seconds: float, call: Callable[[], None]) -> None: ...


class Nodes(Protocol):
    """Parts of the container that a session needs."""

    def attached(self, link: Link) -> None: ...  # raises Refused
    def delivered(self, delivery: Delivery) -> None: ...  # raises Refused
    def credited(self, link: Link) -> None: ...


class Refused(Exception):
    """The container refuses a request of the peer; becomes the error of a detach, an end or a close.

    Args:
        condition: condition of the error.
        description: description of the error.
        attached: answer the link as if it were accepted, before detaching it.
    """

    def __init__(self, condition: str, description: str, *, attached: bool = False) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition, self.description, self.attached = condition, description, attached


@dataclass(slots=True)
class Delivery:
    """One whole message on a link, not settled yet."""

    link: Link
    id: int
    message_format: int
    payload: bytes
    settled: bool

    def settle(self, outcome: Any = p.ACCEPTED) -> None:
        """Send the outcome to the sender."""
        if not self.settled:
            self.settled = True
            self.link.session.send(p.Disposition(role=True, first=self.id, settled=True, state=outcome))


class Link:
    """A link attached by the peer; `incoming` = the peer sends."""

    def __init__(self, session: Session, attach: p.Attach, handle: int) -> None:
        self.session, self.attach, self.handle = session, attach, handle
        self.incoming = attach.role is False
        self.max_message_size: int | None = None
        self.properties: dict[Any, Any] | None = None
        self.credit = self.delivery_count = 0
        self.window = _CREDIT
        """Number of deliveries that the peer may send ahead; with 0 it must wait for `grant`."""
        self.attached = True
        self._partial: tuple[int, int, bytearray, bool] | None = None

    @property
    def address(self) -> str:
        """Address that the peer sends to or receives from."""
        terminus = self.attach.target if self.incoming else self.attach.source
        if not isinstance(terminus, Described) or not isinstance(terminus.value, list) or not terminus.value:
            raise Refused("amqp:invalid-field", "a link without an address")
        return str(terminus.value[0])

    def grant(self, credit: int) -> None:
        """Let the peer send this many more messages."""
        self.credit += credit
        self.session.send_flow(self, link_credit=self.credit)

    def take(self, transfer: p.Transfer, payload: bytes) -> Delivery | None:
        """Return a whole message once its last frame has arrived."""
        if self._partial is None:
            if transfer.delivery_id is None or transfer.delivery_tag is None:
                raise MalformedAmqp("the first transfer of a delivery needs an id and a tag")
            if self.credit <= 0:
                raise Refused("amqp:link:transfer-limit-exceeded", "a transfer without credit")
            self._partial = (transfer.delivery_id, transfer.message_format or 0, bytearray(), bool(transfer.settled))
        identity, message_format, body, settled = self._partial
        body += payload
        if transfer.more:
            return None
        self._partial = None
        self.credit -= 1
        self.delivery_count += 1
        return Delivery(self, identity, message_format, bytes(body), settled)

    def send(self, payload: bytes, message_format: int = 0) -> None:
        """Send one message to the peer, settled; the caller has checked `credit`."""
        assert self.credit > 0
        self.credit -= 1
        self.delivery_count += 1
        self.session.send_message(self, payload, message_format)

    def detach(self, condition: str | None = None, description: str = "") -> None:
        """Close the link, with an error if a condition is given."""
        if self.attached:
            self.attached = False
            error = p.error(condition, description) if condition else None
            self.session.send(p.Detach(handle=self.handle, closed=True, error=error))


class Session:
    """A session: its windows and its links."""

    def __init__(self, connection: Wire, begin: p.Begin, remote_channel: int, channel: int) -> None:
        self.connection, self.remote_channel, self.channel = connection, remote_channel, channel
        self.links: dict[int, Link] = {}
        self._next_incoming, self._incoming_window = begin.next_outgoing_id, _WINDOW
        self._next_outgoing = 0
        self.send(p.Begin(remote_channel=remote_channel, next_outgoing_id=0, incoming_window=_WINDOW, outgoing_window=_WINDOW,
                          handle_max=255))  # fmt: skip

    def send(self, performative: p.Performative, payload: bytes = b"") -> None:
        self.connection.send(self.channel, performative, payload)

    def send_flow(self, link: Link | None = None, link_credit: int | None = None) -> None:
        self.send(
            p.Flow(
                next_incoming_id=self._next_incoming,
                incoming_window=self._incoming_window,
                next_outgoing_id=self._next_outgoing,
                outgoing_window=_WINDOW,
                handle=link.handle if link else None,
                delivery_count=link.delivery_count if link else None,
                link_credit=link_credit,
            )
        )

    def send_message(self, link: Link, payload: bytes, message_format: int) -> None:
        identity, room = self._next_outgoing, self.connection.max_frame_out - 256
        pieces = [payload[at : at + room] for at in range(0, len(payload), room)] or [b""]
        for number, piece in enumerate(pieces):
            transfer = p.Transfer(
                handle=link.handle, delivery_id=identity, delivery_tag=identity.to_bytes(4, "big"), message_format=message_format,
                settled=True, more=number < len(pieces) - 1,
            )  # fmt: skip
            self.send(transfer, piece)
            self._next_outgoing += 1

    def received(self, performative: p.Performative, payload: bytes) -> None:
        match performative:
            case p.Attach():
                self._attach(performative)
            case p.Transfer():
                self._transfer(performative, payload)
            case p.Flow():
                self._flow(performative)
            case p.Detach():
                link = self._link(performative.handle)
                del self.links[performative.handle]
                link.detach()
            case p.Disposition() | p.End():
                pass
            case _:
                raise MalformedAmqp(f"{type(performative).__name__} inside a session")

    def _link(self, handle: int) -> Link:
        try:
            return self.links[handle]
        except KeyError:
            raise Refused("amqp:session:unattached-handle", f"no link has the handle {handle}") from None

    def _attach(self, attach: p.Attach) -> None:
        if attach.handle in self.links:
            raise Refused("amqp:session:handle-in-use", f"the handle {attach.handle} is in use")
        handle = next(number for number in range(256) if all(link.handle != number for link in self.links.values()))
        link = self.links[attach.handle] = Link(self, attach, handle)
        if link.incoming and attach.initial_delivery_count is None:
            raise MalformedAmqp("a sender without its delivery count")
        link.delivery_count = attach.initial_delivery_count or 0
        try:
            self.connection.container.attached(link)
        except Refused as refusal:
            # 2.6.3: a link that cannot be created is answered without its terminus, and detached at once
            self._answer(link, refused=not refusal.attached)
            link.detach(refusal.condition, refusal.description)
            return
        self._answer(link, refused=False)
        if link.incoming and link.window:
            link.grant(link.window)

    def _answer(self, link: Link, *, refused: bool) -> None:
        attach = link.attach
        self.send(
            p.Attach(
                name=attach.name, handle=link.handle, role=not attach.role, snd_settle_mode=attach.snd_settle_mode,
                rcv_settle_mode=attach.rcv_settle_mode, source=None if refused and not link.incoming else attach.source,
                target=None if refused and link.incoming else attach.target,
                initial_delivery_count=None if link.incoming else 0, max_message_size=link.max_message_size,
                properties=link.properties,
            )
        )  # fmt: skip

    def _transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        if self._incoming_window <= 0:
            raise Refused("amqp:session:window-violation", "a transfer beyond the window")
        self._incoming_window -= 1
        self._next_incoming += 1
        if self._incoming_window < _WINDOW // 2:
            self._incoming_window = _WINDOW
            self.send_flow()
        link = self._link(transfer.handle)
        if not link.attached:
            return  # sent before the peer read the detach: it is gone
        delivery = link.take(transfer, payload)
        if delivery is None:
            return
        if link.credit < link.window / 2:
            link.grant(link.window - link.credit)
        size, allowed = len(delivery.payload), link.max_message_size
        if allowed and size > allowed:
            link.detach("amqp:link:message-size-exceeded", f"{size} bytes; {allowed} are allowed")
            return
        try:
            self.connection.container.delivered(delivery)
        except Refused as refusal:
            link.detach(refusal.condition, refusal.description)

    def _flow(self, flow: p.Flow) -> None:
        if flow.handle is None:
            return
        link = self._link(flow.handle)
        if not link.incoming:
            link.credit = (flow.delivery_count or 0) + (flow.link_credit or 0) - link.delivery_count
            self.connection.container.credited(link)
