"""Messages leased from a service, which redelivers them unless they are acknowledged in time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery

_DIGEST_BYTES: Final = 16


class Leased(NamedTuple):
    """One delivery of a message by the service."""

    id: str
    """Service's id of the message, the same at each delivery."""
    handle: str
    """Handle that acknowledges this delivery."""
    message: Message | None
    """`None`: nothing to store; acknowledge at once."""


class LeaseService(Protocol):
    """A service that leases messages, such as SQS and Pub/Sub; it raises the errors of a sink, `Unavailable`."""

    what: str
    """Name of the queue or subscription, for the operator."""
    most_received: int
    """Most messages per answer."""
    most_acknowledged: int
    """Most handles per request."""
    first_lease: float
    """Seconds after which the service redelivers a message that was neither acknowledged nor extended."""
    lease: float
    """Seconds that `extend` grants."""

    async def connect(self) -> None:
        """Check that receiving is permitted, without taking a message."""

    async def receive(self, most: int) -> Sequence[Leased]:
        """Wait for messages as long as the service does; may return none."""

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        """Acknowledge messages; return the handles to retry. A handle unknown to the service counts as done."""

    async def extend(self, handles: Sequence[str]) -> None:
        """Extend the leases of these handles to `lease` seconds from now."""


@dataclass(slots=True)
class _Stored:
    """A delivery whose receipt the spool keeps."""

    confirmation: Confirmation
    left: int
    """Messages that the service has not accepted the acknowledgement of."""

    def accepted(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.confirmation.confirm()


@dataclass(slots=True)
class _Lease:
    handle: str
    until: float
    """End of the lease by the event loop's clock."""
    stored: bool = False
    """True once the message is stored in the spool, and so to be acknowledged."""
    delivery: _Stored | None = None
    """Delivery that it is part of."""


class Leases:
    """Every message that is held or awaits its acknowledgement by the service, by the service's id.

    So a redelivered message that the router still holds is neither stored twice nor left unacknowledged. The receipt of a delivery
    stays in the spool until the service has accepted the acknowledgement of each of its messages: a router that is killed before
    that recognises them when they come again.

    Args:
        unacknowledged: deliveries that are stored in the spool, and were not confirmed before the source was opened.
    """

    def __init__(self, unacknowledged: Sequence[Delivery]) -> None:
        self._leases: dict[str, _Lease] = {}
        self._earlier: dict[bytes, _Stored] = {}
        self._unconfirmed = [each.confirmation for each in unacknowledged if each.confirmation is not None]
        for delivery in unacknowledged:
            digests = list(_digests(delivery.receipt))
            stored = _Stored(delivery.confirmation or Confirmation(), len(digests))
            self._earlier.update(dict.fromkeys(digests, stored))

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, leased: Sequence[Leased], until: float) -> tuple[list[Leased], list[str]]:
        """Return the new messages among these, and the ids of those already stored, to be acknowledged again."""
        fresh, again = [], []
        leases = self._leases
        for each in leased:
            known = leases.get(each.id)
            if known is not None:
                known.handle, known.until = each.handle, until
                if known.stored:
                    again.append(each.id)
                continue
            leases[each.id] = known = _Lease(each.handle, until)
            if each.message is None:
                known.stored = True
                again.append(each.id)
            elif self._earlier and (delivery := self._earlier.pop(_digest(each.id), None)) is not None:
                known.stored, known.delivery = True, delivery
                again.append(each.id)
            else:
                fresh.append(each)
        return fresh, again

    def confirmation(self, ids: Sequence[str]) -> Confirmation:
        """Return what is confirmed once the service has accepted the acknowledgements of these messages."""
        delivery = _Stored(Confirmation(), len(ids))
        for each in ids:
            self._leases[each].delivery = delivery
        return delivery.confirmation

    def confirm_earlier(self) -> None:
        """Release the receipts of earlier deliveries: the service had accepted what it has not sent again by now."""
        for confirmation in self._unconfirmed:
            confirmation.confirm()
        self._unconfirmed.clear()

    def stored(self, ids: Sequence[str]) -> None:
        """Mark messages as stored."""
        for each in ids:
            self._leases[each].stored = True

    def handle(self, identity: str) -> str | None:
        """Return the handle that acknowledges a message now; `None` if it is acknowledged."""
        lease = self._leases.get(identity)
        return lease.handle if lease is not None else None

    def done(self, identity: str, handle: str) -> None:
        """Remove a message whose acknowledgement with this handle the service has accepted."""
        lease = self._leases.get(identity)
        if lease is not None and lease.handle == handle:
            del self._leases[identity]
            if lease.delivery is not None:
                lease.delivery.accepted()

    def ending(self, before: float) -> list[tuple[str, str]]:
        """Return ids and handles of messages not stored yet whose lease ends before this time."""
        return [(each, lease.handle) for each, lease in self._leases.items() if not lease.stored and lease.until < before]

    def extended(self, held: Sequence[tuple[str, str]], until: float) -> None:
        """Record the new end of extended leases."""
        for identity, handle in held:
            lease = self._leases.get(identity)
            if lease is not None and lease.handle == handle:
                lease.until = until


def receipt_of(ids: Sequence[str]) -> bytes:
    """Build the receipt that the spool stores beside a delivery, so that its messages are recognised after a crash."""
    return b"".join([_digest(each) for each in ids])


def _digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode(), digest_size=_DIGEST_BYTES).digest()


def _digests(receipt: bytes) -> Iterator[bytes]:
    for at in range(0, len(receipt), _DIGEST_BYTES):
        yield receipt[at : at + _DIGEST_BYTES]
