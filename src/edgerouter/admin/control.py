"""Operations on a spool, with or without a running router: each takes and returns plain data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from edgerouter.errors import EdgerouterError
from edgerouter.message import Message
from edgerouter.objects.framing import encode
from edgerouter.spool.contract import Spool
from edgerouter.spool.operator import DeadLetter, DeadLetterFilter, Verification
from edgerouter.spool.operator import Stored as Page
from edgerouter.topics import Matcher, check_filter

PAGE_BYTES: Final = 4 * 1024**2
"""Payload in one page of dead letters; then the page ends, though more was asked for."""
_LETTERS_AT_ONCE: Final = 4

Moment = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""Nanoseconds since 1970-01-01 UTC."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Number of a dead letter, or a sequence."""


class Letters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of dead letters; a field that is left out does not restrict it."""

    sink: str | None = None
    topic: str | None = None
    """An MQTT topic filter."""
    since: Moment | None = None
    until: Moment | None = None
    reason: str | None = None
    """A part of the reason or of the error's name."""
    numbers: Annotated[tuple[Number, ...], msgspec.Meta(max_length=10_000)] = ()

    def as_filter(self) -> DeadLetterFilter:
        """For the spool; raises `NotValid` where the topic filter is none."""
        if self.topic is not None:
            _check(self.topic)
        return DeadLetterFilter(**{name: getattr(self, name) for name in Letters.__struct_fields__})


class LettersPage(Letters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of dead letters, a page at a time."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Number = 0
    """Only numbers above this one."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of retained messages that a sink delivers again."""

    sink: str
    topic: str = "#"
    since: Moment | None = None
    until: Moment | None = None
    dry_run: bool = False


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of messages that the spool holds, a page at a time."""

    start: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] = 1
    """First sequence, or `next` of the page before."""
    topic: str = "#"
    since: Moment | None = None
    until: Moment | None = None


class Forget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sink that is no longer configured."""

    sink: str


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter."""

    number: int
    """Names the dead letter; never used again."""
    sink: str
    message: Any
    """The message, as in a JSON Lines file."""
    reason: str
    error: str
    """Name of the error class."""
    attempts: int
    first_attempt: str
    """Time in ISO 8601."""
    last_attempt: str
    """Time in ISO 8601."""
    config_digest: str


class FoundLetters(msgspec.Struct, frozen=True, kw_only=True):
    """A page of dead letters, oldest first."""

    items: list[Letter]
    total: int
    """Number of all that the choice matches."""
    next: int | None
    """`after` of the next page; null behind the last one."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Number of messages that an operation concerned."""

    messages: int


class Forgotten(Counted, frozen=True, kw_only=True):
    """A sink whose position is given up, and the number of messages that were pending for it."""

    forgotten: str


class StoredLines(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the messages that the spool holds."""

    lines: str
    """JSON Lines that keep every byte."""
    next: int
    """`start` of the next page; 0 = there are no more."""


class NotValid(EdgerouterError):
    """The request cannot be understood."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its arguments, its answer, and the function that does it."""

    summary: str
    method: Literal["GET", "POST"]
    request: type[Any]
    answer: type[Any]
    run: Callable[[Spool, Any], Awaitable[Any]]
    only_owner: bool = False
    """Not offered over TCP."""


async def _list_letters(spool: Spool, request: LettersPage) -> FoundLetters:
    which = request.as_filter()
    letters: list[DeadLetter] = []
    room, after = PAGE_BYTES, request.after
    while room > 0 and len(letters) < request.limit:
        some = await spool.tools.dead_letters(which, limit=min(_LETTERS_AT_ONCE, request.limit - len(letters)), after=after)
        if not some:
            break
        letters += some
        after = some[-1].number
        room -= sum(len(letter.message.payload) for letter in some)
    total = await spool.tools.count_dead_letters(which)
    full = len(letters) == request.limit or room <= 0
    following = letters[-1].number if letters and full else None
    return FoundLetters(items=[letter_as_json(letter) for letter in letters], total=total, next=following)


async def _replay_letters(spool: Spool, request: Letters) -> Counted:
    return Counted(messages=await spool.tools.replay_dead_letters(request.as_filter()))


async def _purge_letters(spool: Spool, request: Letters) -> Counted:
    return Counted(messages=await spool.tools.purge_dead_letters(request.as_filter()))


async def _replay(spool: Spool, request: Replay) -> Counted:
    _check(request.topic)
    messages = await spool.tools.replay(
        request.sink, topic=request.topic, since=request.since, until=request.until, dry_run=request.dry_run
    )
    return Counted(messages=messages)


async def _stored(spool: Spool, request: Stored) -> StoredLines:
    _check(request.topic)
    page = await spool.tools.stored(request.start, since=request.since, until=request.until)
    return await asyncio.to_thread(_as_lines, page, request.topic)


def _as_lines(page: Page, topic: str) -> StoredLines:
    asked = Matcher([topic])
    return StoredLines(lines=encode([m for m in page.messages if asked(m.topic)], "jsonl-exact").decode(), next=page.next)


async def _forget(spool: Spool, request: Forget) -> Forgotten:
    orphans = spool.status.orphans
    if request.sink not in orphans:
        known = f"those are: {', '.join(orphans)}" if orphans else "there are none"
        raise EdgerouterError(f"{request.sink!r} is not a sink that was removed from the configuration; {known}")
    pending = spool.ledgers[request.sink].pending
    await spool.forget(request.sink)
    return Forgotten(forgotten=request.sink, messages=pending)


async def _verify(spool: Spool, _: Nothing) -> Verification:
    return await spool.tools.verify()


OPERATIONS: dict[str, Operation] = {
    "dead-letters": Operation("Dead letters, a page at a time", "GET", LettersPage, FoundLetters, _list_letters),
    "dead-letters/replay": Operation("Send dead letters to their sinks again", "POST", Letters, Counted, _replay_letters),
    "dead-letters/purge": Operation("Delete dead letters; they count as dropped", "POST", Letters, Counted, _purge_letters),
    "replay": Operation("Deliver messages that the spool still holds again", "POST", Replay, Counted, _replay),
    "stored": Operation("Messages that the spool holds", "GET", Stored, StoredLines, _stored, only_owner=True),
    "forget": Operation("Give up the position of a sink that is no longer configured", "POST", Forget, Forgotten, _forget),
    "verify": Operation("Check every chunk and every ledger", "POST", Nothing, Verification, _verify),
}
"""Name, as in the path of the admin API, to operation."""


def letter_as_json(letter: DeadLetter) -> Letter:
    """Return a dead letter as plain data; the message as in a JSON Lines file."""
    found = msgspec.structs.asdict(letter)
    times = {name: _time(found[name]) for name in ("first_attempt", "last_attempt")}
    return Letter(**found | times | {"message": message_as_json(letter.message)})


def message_as_json(message: Message) -> Any:
    """A message as in a JSON Lines file; its payload as text where programs that read JSON would stumble over it."""
    try:
        found = msgspec.json.decode(encode([message], "jsonl"))
        # the answer goes through other parsers: a number of 5,000 digits, 1e999 or deep nesting is JSON, and fails in one of them
        json.loads(json.dumps(found, allow_nan=False))
    except (ValueError, OverflowError, RecursionError):
        found = msgspec.json.decode(encode([message], "jsonl-exact"))
    return found


def _check(topic: str) -> None:
    try:
        check_filter(topic)
    except ValueError as error:
        raise NotValid(str(error)) from None


def _time(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds} ns"  # a clock that had gone wrong
