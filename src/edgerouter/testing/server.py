"""Service behind a sink, or a fake of it, as the conformance suite needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Received:
    """One message as a consumer of the service gets it."""

    payload: bytes
    """Published payload byte for byte, after undoing the sink's transport encoding (base64, framing, gzip)."""
    topic: str | None = None
    """Topic, if the sink passes it on; otherwise `None`."""
    id: str | None = None
    """Message id, if the sink passes it on; otherwise `None`."""


class SinkServer:
    """The service behind a sink, as the suite inspects and disturbs it.

    `received` is required. Everything else injects a fault; a server that cannot inject one leaves the method as it is, and
    the subclass of `SinkConformance` names it in `unsupported` with the reason, so that the test is not collected.
    A method that is neither implemented nor declared fails its tests.

    A fault that says *until `heal`* lasts; one that says *the next request* ends with that request. A "request" is one that
    carries messages; a probe of the service while opening counts only for `refuse` and `stop`.
    """

    async def received(self) -> Sequence[Received]:
        """Return all messages that consumers of the service get, in the order accepted, including duplicates."""
        raise NotImplementedError

    async def requests(self) -> int:
        """Return the number of requests with messages received, answered or not."""
        raise NotImplementedError

    async def connections(self) -> int:
        """Return the number of open connections."""
        raise NotImplementedError

    async def fail(self) -> None:
        """Answer every request with an internal failure of the service (HTTP 500) and accept nothing, until `heal`."""
        raise NotImplementedError

    async def throttle(self, seconds: float) -> None:
        """Answer every request with "too many requests, retry in `seconds`" and accept nothing, until `heal`."""
        raise NotImplementedError

    async def refuse(self) -> None:
        """Answer every request, including those of opening, with 401, 403 or 404 and accept nothing, until `heal`."""
        raise NotImplementedError

    async def reject(self, marker: bytes) -> None:
        """Refuse for ever each message whose payload contains `marker`: only that message, or any request that holds it."""
        raise NotImplementedError

    async def fail_once(self, marker: bytes) -> None:
        """Refuse the messages whose payload contains `marker` when they first arrive; accept the others of their request."""
        raise NotImplementedError

    async def stall(self) -> None:
        """Accept the messages of every request and never answer, until `heal`."""
        raise NotImplementedError

    async def lose_next_response(self) -> None:
        """Accept the messages of the next request, then cut the connection instead of answering."""
        raise NotImplementedError

    async def cut_next(self) -> None:
        """Cut the connection in the middle of the next request and accept nothing of it."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Work normally again."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening at the address."""
        raise NotImplementedError


DISTURBANCES = frozenset(name for name in vars(SinkServer) if not name.startswith("_")) - {"received"}
"""Names of everything that a server may be unable to do."""
