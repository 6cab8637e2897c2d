"""The requests to JetStream that the spool makes, and their answers."""

from __future__ import annotations

import secrets
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter_nats.errors import shown
from edgerouter_nats.parser import Arrived
from edgerouter_nats.spool.link import SEQUENCE, Link, headers_of

STREAM_MISSING: Final = 10059
MESSAGE_MISSING: Final = 10037
WRONG_LAST: Final = frozenset({10071, 10164})
"""The last sequence of the subject is another one than expected; 2.12 and later use both numbers."""
REPEATED: Final = WRONG_LAST | {10201}
"""The same, or a message of the batch is there already by its id."""
NOT_TOGETHER: Final = frozenset({10174, 10177, 10199})
"""The stream takes no batches, or none with ids (nats-server 2.12.0), or none of so many messages."""
FULL: Final = 10077
"""`max_bytes` is reached, and the stream discards what is new."""
NO_ROOM: Final = frozenset({10002, 10023, 10028, 10047, FULL})
"""The account, the server, its memory, its disk or the stream has no room, which passes."""
TOO_LARGE: Final = 10054
MESSAGE_ID: Final = "Nats-Msg-Id"
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
_BATCH_ID: Final = "Nats-Batch-Id"
_BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
_BATCH_COMMIT: Final = "Nats-Batch-Commit"
_ANY: Final = ">"
"""Every subject. Named in each read: without one, nats-server before 2.11.10 finds nothing behind a deleted message."""
_MOST_RECORDS: Final = 1000
_PAGE_BYTES: Final = 1024**2


class ApiError(SpoolError):
    """JetStream refuses.

    Args:
        code: `err_code` of the answer (nats-server, server/errors.json).
        text: its description.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"JetStream: {shown(text)} ({code})")
        self.code = code


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream."""

    subject: str
    sequence: int
    data: bytes
    id: str = ""
    """Its `Nats-Msg-Id`."""
    deleted: bool = False
    """It marks a deleted key."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """Numbers of a stream."""

    messages: int
    bytes: int
    first: int
    last: int
    max_bytes: int
    config: Mapping[str, Any] = field(default_factory=dict)


class Api:
    """Requests, in one JetStream domain.

    Args:
        link: to the servers.
        domain: of JetStream, where it has one.
    """

    def __init__(self, link: Link, domain: str | None = None) -> None:
        self.link = link
        self._domain = domain
        self._prefix = f"$JS.{domain}.API" if domain else "$JS.API"

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Store a message and return its stream sequence; that of the first one where it was stored before.

        Raises:
            ApiError: the stream refuses it, or it is larger than the server takes.
            Unavailable: nothing answered; it may be stored.
        """
        return await self.publish_together(subject, [(data, headers)])

    async def publish_together(self, subject: str, messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> int:
        """Store messages directly behind each other, all or none, and return the stream sequence of the last.

        Args:
            subject: of all.
            messages: data and headers of at least one; several need `allow_atomic` of the stream (nats-server, ADR-50).

        Raises:
            ApiError: the stream refuses them, or one is larger than the server takes.
            Unavailable: nothing answered; they may be stored.
        """
        for data, _ in messages:
            if len(data) > self.link.max_payload:
                # the server would close the connection
                raise ApiError(TOO_LARGE, f"{len(data)} bytes on {subject} exceed max_payload, {self.link.max_payload} bytes")
        if self._domain and subject.startswith("$KV."):
            # a leaf node passes on no others (docs.nats.io, JetStream on leaf nodes)
            subject = f"{self._prefix}.{subject}"
        *before, (data, headers) = messages if len(messages) == 1 else _batch(messages)
        answer = _decode(await self.link.ask(subject, data, headers, before=before))
        self._check_domain(answer, subject)
        sequence = answer.get("seq")
        if not isinstance(sequence, int):
            raise Unavailable(f"something else than a stream answers on {subject}")
        return sequence

    def _check_domain(self, answer: Mapping[str, Any], subject: str) -> None:
        """Refuse the word of a stream behind a leaf node, or before it, that takes the same subject: ours may not have the message.

        Raises:
            Unavailable: another stream than ours has answered.
        """
        ours, theirs = self._domain or self.link.domain, answer.get("domain", "")
        if ours and theirs and theirs != ours:
            raise Unavailable(
                f"the stream {shown(str(answer.get('stream')))} of the JetStream domain {shown(str(theirs))} takes {subject} too: "
                "name the spool's stream there otherwise"
            )

    async def request(self, subject: str, body: object) -> dict[str, Any]:
        """Ask the API something and return its answer.

        Raises:
            ApiError: it refuses.
            Unavailable: nothing answered.
        """
        payload = msgspec.json.encode(body) if body is not None else b""
        return _decode(await self.link.ask(f"{self._prefix}.{subject}", payload))

    async def state(self, stream: str) -> StreamState:
        """Return the numbers of a stream, from its leader."""
        answer = await self.request(f"STREAM.INFO.{stream}", None)
        state, config = answer["state"], answer["config"]
        return StreamState(
            state["messages"], state["bytes"], state["first_seq"], state["last_seq"], config.get("max_bytes", -1), config
        )

    async def purge(self, stream: str, *, before: int | None = None, subject: str | None = None) -> int:
        """Delete messages below a sequence, or on a subject; returns how many."""
        body = {"seq": before} if before is not None else {"filter": subject}
        return int((await self.request(f"STREAM.PURGE.{stream}", body))["purged"])

    async def last(self, stream: str, subject: str) -> Stored | None:
        """Return the last message of a subject, from the stream's leader."""
        try:
            answer = await self.request(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.code == MESSAGE_MISSING:
                return None
            raise
        message = answer["message"]
        headers = headers_of(b64decode(message.get("hdrs", "")))[1]
        data = b64decode(message.get("data", ""))
        return Stored(message["subject"], message["seq"], data, headers.get(MESSAGE_ID, ""), "KV-Operation" in headers)

    async def read(self, stream: str, sequence: int, *, most: int, max_bytes: int, subject: str = _ANY) -> list[Stored]:
        """Return the messages from a stream sequence on, in order, from any replica; none where it has nothing yet.

        Args:
            stream: its name.
            sequence: where to begin.
            most: number of messages.
            max_bytes: of all of them; the first one comes in any case.
            subject: only messages of this subject.
        """
        return await self._get(
            stream, {"seq": max(1, sequence), "batch": most, "max_bytes": max_bytes, "next_by_subj": subject or _ANY}
        )

    async def since(self, stream: str, time: datetime) -> int | None:
        """Return the sequence of the first message that was stored at this time or later."""
        found = await self._get(stream, {"start_time": time.isoformat(), "batch": 1})
        return found[0].sequence if found else None

    async def latest(self, stream: str, subjects: Sequence[str]) -> list[Stored]:
        """Return the last message of each subject that matches one of these, in a stream that keeps one of each.

        Read from the front, because the server answers `multi_last` for at most 1024 subjects. One that is written meanwhile moves
        to the end of the stream, so none is missed.
        """
        found: dict[str, Stored] = {}
        for subject in subjects:
            at = 1
            while page := await self.read(stream, at, most=_MOST_RECORDS, max_bytes=_PAGE_BYTES, subject=subject):
                found.update((each.subject, each) for each in page)
                at = page[-1].sequence + 1
        return [each for each in found.values() if not each.deleted]

    async def _get(self, stream: str, body: object) -> list[Stored]:
        subject = f"{self._prefix}.DIRECT.GET.{stream}"
        found = []
        for message in await self.link.ask_for_many(subject, msgspec.json.encode(body)):
            status, headers = headers_of(message.headers)
            if SEQUENCE not in message.headers:
                if status in ("204", "404"):
                    break
                raise Unavailable(f"direct get from {stream}: {shown(message.headers.decode(errors='replace'))}")
            # the first line is the sender's, and may be anything; the server appends its headers, so the last of a name counts
            deleted = "KV-Operation" in headers
            id_ = headers.get(MESSAGE_ID, "")
            found.append(Stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.payload, id_, deleted))
        return found


def _batch(messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> list[tuple[bytes, Mapping[str, str]]]:
    """Return messages with the headers that make them one batch, which no other attempt shares."""
    name = secrets.token_hex(16)
    batch = [
        (data, {**headers, _BATCH_ID: name, _BATCH_SEQUENCE: str(number)}) for number, (data, headers) in enumerate(messages, 1)
    ]
    batch[-1][1][_BATCH_COMMIT] = "1"
    return list(batch)


def _decode(message: Arrived) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(message.payload, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Unavailable(
            f"JetStream answers something else than JSON: {shown(message.payload.decode(errors='replace'))}"
        ) from None
    error = answer.get("error")
    if not error:
        return answer
    code = error.get("err_code", 0) if isinstance(error, dict) else None
    if not isinstance(code, int):
        raise Unavailable(f"something else than JetStream answers: {shown(str(error))}")
    raise ApiError(code, str(error.get("description", "")))
