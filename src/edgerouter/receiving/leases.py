"""Messages that a service has lent us for a while: it sends them again unless we acknowledge them in time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from edgerouter.message import Message
from edgerouter.source import Delivery

_DIGEST_BYTES: Final = 16


class Leased(NamedTuple):
    """One message as the service handed it out."""

    id: str
    """The service's id of it, the same each time it is handed out."""
    handle: str
    """What acknowledges this handing out."""
    message: Message | None
    """`None`: nothing to store, to be acknowledged at once."""


class LeaseService(Protocol):
    """A service that hands out messages for a while, such as SQS and Pub/Sub; it raises what a sink raises, `Unavailable`."""

    what: str
    """The queue or subscription, for the operator."""
    most_received: int
    """Messages of one answer."""
    most_acknowledged: int
    """Handles of one request."""
    first_lease: float
    """Seconds after which the service hands out a message again that was neither acknowledged nor extended."""
    lease: float
    """Seconds that `extend` gives."""

    async def connect(self) -> None:
        """Find out whether we may receive, without taking a message."""

    async def receive(self, most: int) -> Sequence[Leased]:
        """Wait for messages as long as the service does; may give none."""

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        """Give messages back for good; returns the handles to try again with. One that the service does not know counts as done."""

    async def extend(self, handles: Sequence[str]) -> None:
        """Keep these for `lease` seconds from now."""


@dataclass(slots=True)
class _Lease:
    handle: str
    until: float
    """By the event loop's clock."""
    stored: bool = False
    """Safe in the spool; to be acknowledged."""


class Leases:
    """Every message that is held or waits for the service to take its acknowledgement, by the service's id.

    So a message that is handed out again while we have it is neither stored twice nor left unacknowledged.

    Args:
        unacknowledged: deliveries of an earlier run that are safe in the spool.
    """

    def __init__(self, unacknowledged: Sequence[Delivery]) -> None:
        self._leases: dict[str, _Lease] = {}
        self._earlier = {digest for delivery in unacknowledged for digest in _digests(delivery.receipt)}

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, leased: Sequence[Leased], until: float) -> tuple[list[Leased], list[str]]:
        """What is new among these, and the ids of what is safe already and to be acknowledged again."""
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
            elif self._earlier and (digest := _digest(each.id)) in self._earlier:
                self._earlier.discard(digest)
                known.stored = True
                again.append(each.id)
            else:
                fresh.append(each)
        return fresh, again

    def stored(self, ids: Sequence[str]) -> None:
        """These are safe."""
        for each in ids:
            self._leases[each].stored = True

    def handle(self, identity: str) -> str | None:
        """What acknowledges this one now; `None` when that is done."""
        lease = self._leases.get(identity)
        return lease.handle if lease is not None else None

    def done(self, identity: str, handle: str) -> None:
        """The service has taken the acknowledgement with this handle."""
        lease = self._leases.get(identity)
        if lease is not None and lease.handle == handle:
            del self._leases[identity]

    def ending(self, before: float) -> list[tuple[str, str]]:
        """Ids and handles of those not safe yet whose lease ends before this time."""
        return [(each, lease.handle) for each, lease in self._leases.items() if not lease.stored and lease.until < before]

    def extended(self, held: Sequence[tuple[str, str]], until: float) -> None:
        """The service keeps these longer."""
        for identity, handle in held:
            lease = self._leases.get(identity)
            if lease is not None and lease.handle == handle:
                lease.until = until


def receipt_of(ids: Sequence[str]) -> bytes:
    """What the spool keeps beside a delivery, so that its messages are known again after a crash."""
    return b"".join([_digest(each) for each in ids])


def _digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode(), digest_size=_DIGEST_BYTES).digest()


def _digests(receipt: bytes) -> Iterator[bytes]:
    for at in range(0, len(receipt), _DIGEST_BYTES):
        yield receipt[at : at + _DIGEST_BYTES]
