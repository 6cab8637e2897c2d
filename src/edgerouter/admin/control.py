"""Operations on a spool, with or without a running router: each takes and returns plain data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from edgerouter.errors import EdgerouterError
from edgerouter.message import Message
from edgerouter.objects.framing import encode
from edgerouter.spool.contract import Spool
from edgerouter.spool.operator import DeadLetter, DeadLetterFilter
from edgerouter.spool.operator import Stored as Page
from edgerouter.topics import Matcher, check_filter

PAGE_BYTES: Final = 4 * 1024**2
"""Payload in one page of dead letters; then the page ends, though more was asked for."""
_LETTERS_AT_ONCE: Final = 4

Moment = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""Nanoseconds since 1970-01-01 UTC."""


class Letters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of dead letters; a field that is left out does not restrict it."""

    sink: str | None = None
    topic: str | None = None
    """An MQTT topic filter."""
    since: Moment | None = None
    until: Moment | None = None
    reason: str | None = None
    """A part of the reason or of the error's name."""
    numbers: tuple[int, ...] = ()

    def as_filter(self) -> DeadLetterFilter:
        """For the spool; raises `EdgerouterError` where the topic filter is none."""
        if self.topic is not None:
            _check(self.topic)
        return DeadLetterFilter(**{name: getattr(self, name) for name in Letters.__struct_fields__})


class LettersPage(Letters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choice of dead letters, a page at a time."""

    limit: Annotated[int, msgspec.Meta(ge=1)] = 100
    after: int = 0
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

    start: Annotated[int, msgspec.Meta(ge=1)] = 1
    """First sequence, or `next` of the page before."""
    topic: str = "#"
    since: Moment | None = None
    until: Moment | None = None


class Forget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sink that is no longer configured."""

    sink: str


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: what it takes and what it does."""

    request: type[Any]
    run: Callable[[Spool, Any], Awaitable[dict[str, Any]]]


async def _list_letters(spool: Spool, request: LettersPage) -> dict[str, Any]:
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
    return {"dead_letters": [letter_as_json(letter) for letter in letters], "total": total}


async def _replay_letters(spool: Spool, request: Letters) -> dict[str, Any]:
    return {"messages": await spool.tools.replay_dead_letters(request.as_filter())}


async def _purge_letters(spool: Spool, request: Letters) -> dict[str, Any]:
    return {"messages": await spool.tools.purge_dead_letters(request.as_filter())}


async def _replay(spool: Spool, request: Replay) -> dict[str, Any]:
    _check(request.topic)
    messages = await spool.tools.replay(
        request.sink, topic=request.topic, since=request.since, until=request.until, dry_run=request.dry_run
    )
    return {"messages": messages}


async def _stored(spool: Spool, request: Stored) -> dict[str, Any]:
    _check(request.topic)
    page = await spool.tools.stored(request.start, since=request.since, until=request.until)
    return await asyncio.to_thread(_as_lines, page, request.topic)


def _as_lines(page: Page, topic: str) -> dict[str, Any]:
    asked = Matcher([topic])
    return {"lines": encode([m for m in page.messages if asked(m.topic)], "jsonl-exact").decode(), "next": page.next}


async def _forget(spool: Spool, request: Forget) -> dict[str, Any]:
    orphans = spool.status.orphans
    if request.sink not in orphans:
        known = f"those are: {', '.join(orphans)}" if orphans else "there are none"
        raise EdgerouterError(f"{request.sink!r} is not a sink that was removed from the configuration; {known}")
    pending = spool.ledgers[request.sink].pending
    await spool.forget(request.sink)
    return {"forgotten": request.sink, "messages": pending}


async def _verify(spool: Spool, _: Nothing) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(await spool.tools.verify())
    return found


OPERATIONS: dict[str, Operation] = {
    "dead-letters/list": Operation(LettersPage, _list_letters),
    "dead-letters/replay": Operation(Letters, _replay_letters),
    "dead-letters/purge": Operation(Letters, _purge_letters),
    "replay": Operation(Replay, _replay),
    "stored": Operation(Stored, _stored),
    "forget": Operation(Forget, _forget),
    "verify": Operation(Nothing, _verify),
}
"""Name, as in the path of the control interface, to operation."""


def letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as plain data; the message as in a JSON Lines file."""
    found = {field.name: getattr(letter, field.name) for field in fields(letter)}
    times = {name: _time(found[name]) for name in ("first_attempt", "last_attempt")}
    return found | times | {"message": _message_as_json(letter.message)}


def _message_as_json(message: Message) -> Any:
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
        raise EdgerouterError(str(error)) from None


def _time(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds} ns"  # a clock that had gone wrong
