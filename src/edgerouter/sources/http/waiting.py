"""Requests that wait for the commit of their messages, and the time after which they are answered without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from edgerouter.http_server.problems import Problem
from edgerouter.message import Message
from edgerouter.receiving import Inbox
from edgerouter.source import Delivery, SourceContext
from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.repeats import Repeat, Repeats

_STALLED = "the spool takes no messages at present, so nothing is stored: send the request again later"
_UNDECIDED = "the messages are not stored yet, and may be later: send it again, with an Idempotency-Key against repeats"


@dataclass(slots=True, eq=False)
class _Waiting:
    answer: asyncio.Future[None]
    repeat: Repeat | None


class WaitingRoom:
    """Holds requests from their arrival until their messages are stored.

    Args:
        config: of the source.
        context: of the source.
        repeats: learns what is stored.
    """

    def __init__(self, config: HttpSourceConfig, context: SourceContext, repeats: Repeats) -> None:
        self.requests: set[_Waiting] = set()
        """Requests that are not answered yet."""
        self.inbox: Inbox[_Waiting] = Inbox(
            config.max_unacknowledged,
            config.max_unacknowledged_bytes,
            acknowledged=self._acknowledged,
            flush_now=context.flush_now,
            receipt=_receipt,
        )
        self._most_messages = config.max_unacknowledged
        self._patience = config.answer_timeout
        self._repeats = repeats
        self._clock = asyncio.get_running_loop().time
        self._progress = 0.0
        """Time of the last commit, or of the first request after all were stored."""
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = False

    def check(self) -> None:
        """Refuse a request whose messages would not be stored soon.

        Raises:
            Problem: 503, with the time to wait.
        """
        if self.inbox.stopped:
            raise Problem(503, "the router is stopping: send the request again", retry_after=5, close=True)
        if self._stalled:
            raise Problem(503, _STALLED, retry_after=self._patience)

    async def stored(self, messages: Sequence[Message], repeat: Repeat | None) -> None:
        """Return once the messages are stored.

        Raises:
            Problem: 503; they are not, or not yet.
        """
        self.check()
        if self.inbox.messages and self.inbox.messages + len(messages) > self._most_messages:
            raise Problem(503, _STALLED, retry_after=1)
        if repeat is not None:
            self._repeats.waits(repeat)
        request = _Waiting(asyncio.get_running_loop().create_future(), repeat)
        if not self.inbox.messages:
            self._progress = self._clock()
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._patience, self._look)
        self.requests.add(request)
        self.inbox.put(messages, [request])
        try:
            await request.answer
        finally:
            self.requests.discard(request)

    def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what has arrived."""
        return self.inbox.deliveries()

    def close(self) -> None:
        """Answer what still waits: its messages will not be stored by this run, or it is unknown."""
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()

    def _acknowledged(self, requests: Sequence[_Waiting]) -> None:
        self._progress = self._clock()
        self._stalled = False
        for request in requests:
            if not request.answer.done():
                request.answer.set_result(None)
        self._repeats.stored([request.repeat for request in requests if request.repeat is not None])

    def _look(self) -> None:
        """Stop the waiting if nothing has been stored for too long."""
        self._timer = None
        if not self.inbox.messages:
            return
        left = self._progress + self._patience - self._clock()
        if left <= 0:
            self._stalled = True
            self._give_up()
            left = self._patience
        self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def _give_up(self) -> None:
        for request in self.requests:
            if not request.answer.done():
                request.answer.set_exception(Problem(503, _UNDECIDED, retry_after=self._patience))


def _receipt(requests: Sequence[_Waiting]) -> bytes:
    return b"".join([request.repeat.receipt for request in requests if request.repeat is not None])
