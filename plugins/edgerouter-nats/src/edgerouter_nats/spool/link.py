"""Questions and answers over a connection that is made anew when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nats.errors import ConnectionClosedError

from edgerouter import Unauthorized, Unavailable
from edgerouter_nats.connection import Connection, Connector
from edgerouter_nats.errors import shown
from edgerouter_nats.parser import Arrived, Skipped

_LONGEST: Final = 30.0
"""Seconds for an answer after several that did not come in time: a slow link needs them for a large chunk."""
_LEAST_RATE: Final = 64 * 1024
"""Bytes a second that a link has at least."""
_LOOK_EVERY: Final = 0.1
"""Seconds between two looks for answers that are late: a timer for each question would cost more than the question."""
SEQUENCE: Final = b"\r\nNats-Sequence: "
"""Begins the header of a direct get's answer that names the place of the message."""
_MOST_TIMEOUTS: Final = 2
"""Unanswered questions in a row after which another server is tried: this one may be cut off from the others."""


class TooLong(Unavailable):
    """An answer is longer than `max_message_bytes`."""


def headers_of(raw: bytes) -> tuple[str, dict[str, str]]:
    """Return the status of a message, such as `404`, and its headers."""
    lines = raw.decode(errors="replace").split("\r\n")
    status = lines[0].removeprefix("NATS/1.0").strip()
    pairs = (line.partition(":") for line in lines[1:] if line)
    return status[:3], {name.strip(): value.strip() for name, _, value in pairs}


def is_status(message: Arrived) -> bool:
    """Return True for an answer that holds only a status; a stored message has its place in the headers, whatever else is there."""
    return message.headers.startswith(b"NATS/1.0 ") and SEQUENCE not in message.headers


@dataclass(slots=True)
class _Question:
    """A question that waits for its answers."""

    subject: str
    answered: asyncio.Future[None]
    many: bool
    until: float
    """Time of the loop at which it counts as unanswered."""
    messages: list[Arrived] = field(default_factory=list)

    def add(self, message: Arrived) -> None:
        """Take an answer; a series ends with one that has a status."""
        self.messages.append(message)
        if (not self.many or is_status(message)) and not self.answered.done():
            self.answered.set_result(None)


class Link:
    """Asks over whichever connection there is.

    Args:
        connector: makes connections.
        timeout: seconds for an answer, doubled with each that does not come in time. Short, because a server that has no leader
            yet drops questions.
    """

    def __init__(self, connector: Connector, timeout: float = 2.0) -> None:
        self._connector = connector
        self._timeout = timeout
        self._connection: Connection | None = None
        self._inbox = connector.inbox()
        self._questions: dict[str, _Question] = {}
        self._number = 0
        self._timeouts = 0
        self._timeouts_in_a_row = 0
        self._subjects: dict[str, Callable[[bytes], None]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._refusal = ""
        """The server lets no answer through to this connection."""
        self.max_payload = 1024**2
        """Most bytes of a message with its headers: the server's bound, or `max_message_bytes` where that is smaller."""
        self.domain = ""
        """JetStream domain of the server; empty where it has none."""
        self.api_level = 0
        """Level of JetStream's API that the server knows: 2 = batches, from nats-server 2.12 on."""

    def hear(self, subject: str, call: Callable[[bytes], None]) -> None:
        """Have `call` called with what is published on a subject; what comes while there is no connection is missed."""
        self._subjects[subject] = call
        connection = self._connection
        if connection is not None and not connection.lost:
            connection.client.listen(_Heard(call), subject)

    async def ask(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        before: Sequence[tuple[bytes, Mapping[str, str]]] = (),
    ) -> Arrived:
        """Publish a question and return its answer.

        Args:
            subject: of the question.
            payload: of the question.
            headers: of the question.
            before: payloads and headers of messages to the same subject that come directly before it, and want no answer.

        Raises:
            Unavailable: there is no connection, nothing answers on the subject, or not in time. It may have been received.
        """
        operations = [_operation(subject, "", *each) for each in before]
        return (await self._ask(subject, payload, headers, many=False, before=b"".join(operations)))[0]

    async def ask_for_many(self, subject: str, payload: bytes) -> list[Arrived]:
        """Publish a question and return the series of its answers, the last of which holds only a status.

        Raises:
            Unavailable: as for `ask`.
        """
        return await self._ask(subject, payload, None, many=True)

    def announce(self, subject: str, payload: bytes) -> None:
        """Publish something that does no harm when it is lost."""
        connection = self._connection
        if connection is not None and not connection.lost:
            connection.client.post(_operation(subject, "", payload, None))

    async def _ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, *, many: bool, before: bytes = b""
    ) -> list[Arrived]:
        connection = await self._connected()
        size = len(before) + len(payload)
        seconds = min(_LONGEST, self._timeout * 2.0 ** min(8, self._timeouts_in_a_row)) + size / _LEAST_RATE
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        loop = asyncio.get_running_loop()
        question = self._questions[reply] = _Question(subject, loop.create_future(), many, loop.time() + seconds)
        if self._looking is None:
            self._looking = loop.call_later(_LOOK_EVERY, self._look, loop)
        try:
            connection.client.post(before + _operation(subject, reply, payload, headers))
            await question.answered
        except TimeoutError:
            if not question.messages:
                await self._timed_out(connection)
                if self._refusal:
                    raise Unauthorized(self._refusal) from None
                raise Unavailable(f"{connection.server}: no answer within {seconds:.3g} s on {subject}") from None
        except ConnectionClosedError:
            raise connection.error from None
        finally:
            self._questions.pop(reply, None)
        self._timeouts = self._timeouts_in_a_row = 0
        if question.messages[0].headers.startswith(b"NATS/1.0 503"):
            raise Unavailable(f"{connection.server}: JetStream does not answer on {subject}: no leader, or not enabled")
        return question.messages

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the questions whose time is over."""
        now = loop.time()
        for question in self._questions.values():
            if question.until <= now and not question.answered.done():
                question.answered.set_exception(TimeoutError())
        self._looking = loop.call_later(_LOOK_EVERY, self._look, loop) if self._questions else None

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connector.connection()
            if connection is not self._connection:
                self._connection = connection
                self._begin(connection)
        return connection

    def _begin(self, connection: Connection) -> None:
        # a longer message could be stored, and never read again
        self.max_payload = min(connection.max_payload, self._connector.max_message_bytes)
        client = connection.client
        self.api_level = int(client.info.get("api_lvl", 0))
        self.domain = str(client.info.get("domain", ""))
        self._refusal = ""
        client.refused.append(lambda text: self._refused(connection, text))
        client.listen(_Answers(self._questions), f"{self._inbox}.*")
        for subject, call in self._subjects.items():
            client.listen(_Heard(call), subject)
        client.lost.add_done_callback(lambda _: self._lost(connection))

    def _refused(self, connection: Connection, text: str) -> None:
        """End the questions that a permission is missing for."""
        reason = f"{connection.server}: {shown(text)}: permit it, or set `inbox_prefix`, for the account's user"
        answers = self._inbox in text
        if answers and connection is self._connection:
            self._refusal = reason
        for question in self._questions.values():
            if (answers or f'"{question.subject}"' in text) and not question.answered.done():
                question.answered.set_exception(Unauthorized(reason))

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        for question in self._questions.values():
            if not question.answered.done():
                question.answered.set_exception(connection.error)

    async def _timed_out(self, connection: Connection) -> None:
        self._timeouts += 1
        self._timeouts_in_a_row += 1
        if self._timeouts >= _MOST_TIMEOUTS and connection is self._connection:
            self._timeouts = 0
            await self._connector.close()


class _Answers:
    """Gives answers to their questions."""

    def __init__(self, questions: dict[str, _Question]) -> None:
        self._questions = questions

    def arrived(self, messages: list[Arrived]) -> None:
        for message in messages:
            # an answer to a direct get has the subject of what was stored in a header, and comes to the inbox
            question = self._questions.get(message.subject)
            if question is not None:
                question.add(message)

    def skipped(self, message: Skipped) -> None:
        question = self._questions.get(message.subject)
        if question is not None and not question.answered.done():
            question.answered.set_exception(
                TooLong(f"an answer of {message.size} bytes is longer than `max_message_bytes` allows: {shown(message.subject)}")
            )


class _Heard:
    """Hands on what is published on one subject."""

    def __init__(self, call: Callable[[bytes], None]) -> None:
        self._call = call

    def arrived(self, messages: list[Arrived]) -> None:
        for message in messages:
            self._call(message.payload)

    def skipped(self, message: Skipped) -> None:
        """Miss it."""


def _operation(subject: str, reply: str, payload: bytes, headers: Mapping[str, str] | None) -> bytes:
    if not headers:
        return b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"NATS/1.0\r\n{lines}\r\n".encode()
    sizes = (len(head), len(head) + len(payload))
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject.encode(), reply.encode(), *sizes, head, payload)
