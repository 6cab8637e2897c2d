"""What the conformance suite needs of the service behind a sink, or of a fake of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Received:
    """One message as a consumer of the service gets it."""

    payload: bytes
    """Byte for byte what was published, after undoing whatever the sink did for the transport (base64, framing, gzip)."""
    topic: str | None = None
    """Where the sink passes the topic on; `None` where it does not."""
    id: str | None = None
    """Where the sink passes the message's id on; `None` where it does not."""


class SinkServer:
    """The service behind a sink, as the suite sees and disturbs it.

    `received` must be there. Everything else is a disturbance; a server that cannot do one leaves the method as it is, and
    the subclass of `SinkConformance` names it in `unsupported` with the reason, so that the test is skipped with that reason.
    A method that is neither written nor declared fails its tests.

    A disturbance that says *until `heal`* lasts; one that says *the next request* is used up by that request. A "request" is what
    carries messages; a look at the service while opening is one only for `refuse` and `stop`.
    """

    async def received(self) -> Sequence[Received]:
        """All messages that consumers of the service get, in the order taken, duplicates included."""
        raise NotImplementedError

    async def requests(self) -> int:
        """How many requests with messages have come in, answered or not."""
        raise NotImplementedError

    async def connections(self) -> int:
        """How many connections are open."""
        raise NotImplementedError

    async def fail(self) -> None:
        """Answer every request with a failure of the service's own (HTTP 500) and take nothing, until `heal`."""
        raise NotImplementedError

    async def throttle(self, seconds: float) -> None:
        """Answer every request with "too much, come back in `seconds`" and take nothing, until `heal`."""
        raise NotImplementedError

    async def refuse(self) -> None:
        """Answer every request, those of opening too, with 401, 403 or 404 and take nothing, until `heal`."""
        raise NotImplementedError

    async def reject(self, marker: bytes) -> None:
        """Refuse for ever each message whose payload contains `marker`: that message alone, or any request that holds it."""
        raise NotImplementedError

    async def fail_once(self, marker: bytes) -> None:
        """Take none of the messages whose payload contains `marker` when they first come; take the others of their request."""
        raise NotImplementedError

    async def stall(self) -> None:
        """Take the messages of every request and never answer, until `heal`."""
        raise NotImplementedError

    async def lose_next_response(self) -> None:
        """Take the messages of the next request, then cut the connection instead of answering."""
        raise NotImplementedError

    async def cut_next(self) -> None:
        """Cut the connection in the middle of the next request and take nothing of it."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Work as usual again."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Go away: nobody listens at the address any more."""
        raise NotImplementedError


DISTURBANCES = frozenset(name for name in vars(SinkServer) if not name.startswith("_")) - {"received"}
"""What `SinkConformance.unsupported` may name."""
