"""Dead letters in a stream beside that of the messages: stored, read, counted and deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog
import zstandard

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection
from edgerouter.spool.operator import DeadLetter, DeadLetterFilter
from edgerouter.topics import matches
from edgerouter_nats.spool.api import MESSAGE_ID, MESSAGE_MISSING, Api, ApiError, Stored
from edgerouter_nats.spool.names import Names, escape, sink_of, unescape

_REASON: Final = 2000
"""Most characters of a reason, which a service chooses."""
_HEADERS: Final = 1024
"""Bytes of a stored message beside its data, at most."""
_MOST_BYTES: Final = 256 * 1024**2
"""Most bytes of a dead letter once decompressed; a message is smaller."""
_READ_LETTERS: Final = 256
_READ_BYTES: Final = 2 * 1024**2
_WINDOW: Final = 3600
"""Seconds in which the server recognises a dead letter that is stored again after a crash."""

log = structlog.get_logger("edgerouter.spool")


class _Record(msgspec.Struct, frozen=True, array_like=True):
    message: Message
    reason: str
    error: str
    attempts: int
    first_attempt: int
    last_attempt: int
    config_digest: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


def letters_config(names: Names, *, replicas: int, max_bytes: int) -> dict[str, Any]:
    """Return the configuration of the stream; the oldest dead letters make room for new ones."""
    return {
        "name": names.dead_letters,
        "description": "edgerouter: messages that a service will never take",
        "subjects": [f"{names.stream}.dead.*"],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "allow_direct": True,
        "duplicate_window": _WINDOW * 10**9,
    }


class Letters:
    """The stream of dead letters.

    Args:
        api: of JetStream.
        names: of the streams.
    """

    def __init__(self, api: Api, names: Names) -> None:
        self._api = api
        self._stream = names.dead_letters
        self._prefix = f"{names.stream}.dead."
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._decompress = zstandard.ZstdDecompressor().decompress
        self.changed = asyncio.Event()
        """Set when this router has stored or deleted some."""

    async def store(self, ledger: str, rejections: Sequence[Rejection]) -> None:
        """Store dead letters; one that is stored again counts once.

        Raises:
            Unavailable: nothing answered; some may be stored.
            ApiError: the stream refuses them.
        """
        now, token = time.time_ns(), escape(ledger)
        for r in rejections:
            data = self._packed(_Record(r.message, r.reason[:_REASON], r.error, r.attempts, r.first_attempt, now, r.config_digest))
            self.changed.set()
            await self._api.publish(self._prefix + token, data, {MESSAGE_ID: f"{r.message.id}/{token}"})

    def _packed(self, record: _Record) -> bytes:
        """Return a record as it is stored: a message that fitted into the stream fits again, if need be without the reason."""
        most = self._api.link.max_payload - _HEADERS
        data = self._compress(_encode(record))
        if len(data) > most:
            data = self._compress(_encode(msgspec.structs.replace(record, reason="")))
        if len(data) > most:
            log.error("a dead letter is too large for the stream, and is kept without its payload", id=record.message.id)
            m = record.message
            bare = Message(m.topic, b"", m.received_at, m.qos, m.retained, None, m.spool, m.sequence, m.source)
            data = self._compress(_encode(msgspec.structs.replace(record, message=bare)))
        return data

    async def read(self, which: DeadLetterFilter, after: int = 0) -> AsyncIterator[tuple[str, DeadLetter]]:
        """Yield each dead letter that the filter lets through, in the order of their numbers, with the ledger that counts it.

        Raises:
            Unavailable: nothing answers.
        """
        if which.numbers:
            found = self._numbered(sorted(number for number in set(which.numbers) if number > after))
        else:
            found = self._all(after)
        async for each in found:
            letter = self._letter(each)
            if letter is not None and lets_through(which, letter):
                yield self._ledger(each), letter

    async def delete(self, numbers: Iterable[int]) -> int:
        """Delete dead letters; returns how many were there.

        Raises:
            Unavailable: nothing answers.
        """
        deleted = 0
        self.changed.set()
        for number in numbers:
            try:
                await self._api.request(f"STREAM.MSG.DELETE.{self._stream}", {"seq": number, "no_erase": True})
            except ApiError as error:
                if error.code not in (MESSAGE_MISSING, _NO_MESSAGE):
                    raise
            else:
                deleted += 1
        return deleted

    async def counts(self) -> tuple[dict[str, int], int]:
        """Return the number of dead letters of each ledger, and the bytes of all.

        Raises:
            Unavailable: nothing answers.
        """
        answer = await self._api.request(f"STREAM.INFO.{self._stream}", {"subjects_filter": f"{self._prefix}>"})
        subjects = answer["state"].get("subjects") or {}
        counts = {unescape(subject.removeprefix(self._prefix)): int(count) for subject, count in subjects.items()}
        return counts, int(answer["state"]["bytes"])

    async def _all(self, after: int) -> AsyncIterator[Stored]:
        at = after + 1
        while found := await self._api.read(self._stream, at, most=_READ_LETTERS, max_bytes=_READ_BYTES):
            for each in found:
                yield each
            at = found[-1].sequence + 1

    async def _numbered(self, numbers: Iterable[int]) -> AsyncIterator[Stored]:
        for number in numbers:
            for each in await self._api.read(self._stream, number, most=1, max_bytes=_READ_BYTES):
                if each.sequence == number:
                    yield each

    def _ledger(self, stored: Stored) -> str:
        return unescape(stored.subject.removeprefix(self._prefix))

    def _unpacked(self, data: bytes) -> bytes:
        if zstandard.get_frame_parameters(data).content_size > _MOST_BYTES:
            raise zstandard.ZstdError("it would be too large")
        return self._decompress(data)

    def _letter(self, stored: Stored) -> DeadLetter | None:
        try:
            record = _decode(self._unpacked(stored.data))
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            log.warning("a damaged dead letter is skipped", number=stored.sequence, reason=str(error))
            return None
        return DeadLetter(
            stored.sequence,
            sink_of(self._ledger(stored)),
            record.message,
            record.reason,
            record.error,
            record.attempts,
            record.first_attempt,
            record.last_attempt,
            record.config_digest,
        )


_NO_MESSAGE: Final = 10057
"""The message to delete is not there (nats-server, server/errors.json)."""


def lets_through(which: DeadLetterFilter, letter: DeadLetter) -> bool:
    """Return True for a dead letter that the filter selects."""
    return (
        (which.sink is None or letter.sink == which.sink)
        and (which.topic is None or matches(which.topic, letter.message.topic))
        and (which.since is None or letter.last_attempt >= which.since)
        and (which.until is None or letter.last_attempt < which.until)
        and (which.reason is None or which.reason.lower() in f"{letter.reason} {letter.error}".lower())
        and (not which.numbers or letter.number in which.numbers)
    )
