"""Publishes to streams: all messages of a batch at once, and the answers as they come, each by its own address."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from nats.errors import ConnectionClosedError

from edgerouter import Failure, Message, Outcome, Rejected, Unauthorized, Unavailable
from edgerouter_nats.connection import Connection, Connector
from edgerouter_nats.headers import Headers
from edgerouter_nats.jetstream.codes import read, refusal
from edgerouter_nats.outgoing import Posted, post, prepare, refusals, refused_of
from edgerouter_nats.parser import Arrived, Skipped
from edgerouter_nats.subjects import SubjectTemplate

_NO_RESPONDERS: Final = b"NATS/1.0 503"
_NEVER: Final = Arrived("", "", b"", b"")
"""Stands for the answer to a message whose subject is refused."""


class _Waiting:
    """Answers of one write, by number of the message."""

    def __init__(self, posted: Sequence[Posted]) -> None:
        self.answers: list[Arrived | None] = [None] * len(posted)
        self.left = len(posted)
        self._posted = posted
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, number: int, answer: Arrived) -> None:
        """Take an answer; a second one to the same message counts for nothing."""
        if number < len(self.answers) and self.answers[number] is None:
            self.answers[number] = answer
            self._fewer(1)

    def refused(self, subject: str) -> None:
        """Wait no longer for messages of a subject that the server refuses: they are never answered."""
        for number, message in enumerate(self._posted):
            if message.subject == subject and self.answers[number] is None:
                self.answers[number] = _NEVER
                self._fewer(1)

    def _fewer(self, messages: int) -> None:
        self.left -= messages
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Answers:
    """Subscription that all answers over one connection come to.

    Args:
        connection: open.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        inbox = connection.client.new_inbox()
        self._prefix = f"{inbox}."
        self._writes: dict[int, _Waiting] = {}
        self._last = 0
        connection.client.listen(self, f"{inbox}.*.*")

    def begin(self, posted: Sequence[Posted]) -> tuple[int, _Waiting]:
        """Begin to wait for the answers to these; returns the number of the write."""
        self._last += 1
        self._writes[self._last] = waiting = _Waiting(posted)
        return self._last, waiting

    def end(self, write: int) -> None:
        """Take no more answers to a write."""
        del self._writes[write]

    def addresses(self, write: int, messages: int) -> list[str]:
        """Return the address for the answer to each message."""
        return [f"{self._prefix}{write}.{number}" for number in range(messages)]

    def arrived(self, messages: list[Arrived]) -> None:
        start = len(self._prefix)
        for message in messages:
            write, _, number = message.subject[start:].partition(".")
            if number.isdecimal() and write.isdecimal() and (waiting := self._writes.get(int(write))) is not None:
                waiting.answered(int(number), message)

    def skipped(self, message: Skipped) -> None:
        """Take no notice: no answer of JetStream is that long."""


class Publisher:
    """Sends batches to streams.

    Args:
        connector: of the sink.
        subjects: makes the subjects.
        headers: makes the headers.
        ack_timeout: seconds without any answer after which the rest counts as lost.
        seconds: bound of one write.
    """

    def __init__(
        self, connector: Connector, subjects: SubjectTemplate, headers: Headers, *, ack_timeout: float, seconds: float
    ) -> None:
        self._connector = connector
        self._subjects = subjects
        self._headers = headers
        self._ack_timeout = ack_timeout
        self._seconds = seconds
        self._answers: Answers | None = None

    def size_of(self, message: Message) -> int:
        """Return the bytes that count against the server's `max_payload`."""
        return self._headers.size_of(message) + len(message.payload)

    async def publish(self, batch: Sequence[Message]) -> Outcome:
        """Send a batch, and return what became of each message.

        Raises:
            Unavailable: no connection can be made.
        """
        connection = await self._connector.connection()
        answers = self._answers
        if answers is None or answers.connection is not connection:
            self._answers = answers = Answers(connection)
        posted, failures = prepare(batch, self._subjects, self._headers, connection.max_payload)
        if not posted:
            return Outcome(failures)
        write, waiting = answers.begin(posted)
        error: Unavailable | None = None
        try:
            with refusals(connection.client, waiting.refused) as refused:
                try:
                    await post(connection.client, posted, answers.addresses(write, len(posted)))
                    await self._wait(waiting, connection)
                except (ConnectionClosedError, OSError):
                    error = connection.error
        finally:
            answers.end(write)
        return self._outcome(posted, waiting.answers, failures, refused, error or self._silence(connection))

    async def _wait(self, waiting: _Waiting, connection: Connection) -> None:
        """Wait until all is answered, until nothing more is answered for a while, or until the connection is gone."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._seconds
        left = waiting.left + 1
        while not waiting.done.done() and not connection.lost and waiting.left < left and (more := deadline - clock()) > 0:
            left = waiting.left
            wait = min(self._ack_timeout, more)
            await asyncio.wait((waiting.done, connection.client.lost), timeout=wait, return_when=asyncio.FIRST_COMPLETED)

    def _silence(self, connection: Connection) -> Unavailable:
        if connection.lost:
            return connection.error
        return Unavailable(f"{connection.server}: no answer of the stream within {self._ack_timeout:g} s; it may have no leader")

    def _outcome(
        self,
        posted: Sequence[Posted],
        answers: Sequence[Arrived | None],
        failures: list[Failure],
        refused: dict[str, str],
        silence: Unavailable,
    ) -> Outcome:
        receipts = []
        unanswered = [message for message, answer in zip(posted, answers, strict=True) if answer is _NEVER]
        failures += refused_of(unanswered, refused)
        for message, answer in zip(posted, answers, strict=True):
            if answer is None:
                failures.append(Failure(message.place, silence, may_have_arrived=True))
                continue
            if answer is _NEVER:
                continue
            result = _result(answer, message.subject)
            if isinstance(result, str):
                receipts.append(result)
            else:
                failures.append(Failure(message.place, result))
        return Outcome(failures, receipts=receipts)


def _result(answer: Arrived, subject: str) -> str | Unavailable | Rejected:
    """Return the receipt, or the error, of one message."""
    if answer.headers.startswith(_NO_RESPONDERS) and not answer.payload:
        return Unauthorized(f"no stream takes the subject {subject[:100]!r}: create one, or look at the domain and the account")
    told = read(answer.payload)
    if told is None:
        return Unavailable(f"something else than a stream answers on the subject {subject[:100]!r}")
    return f"{told.stream} {told.seq}" if told.error is None else refusal(told)
