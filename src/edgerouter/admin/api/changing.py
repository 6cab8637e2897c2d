"""Endpoints that change something: reload, the level of the log, and the operations on the spool."""

from __future__ import annotations

from functools import partial

import msgspec

from edgerouter.admin.api.endpoint import Call, Endpoint
from edgerouter.admin.control import OPERATIONS, Letter, LettersPage, Operation
from edgerouter.http_server.problems import Problem
from edgerouter.logs.setup import Level, present_level, set_level


class LogLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Least level of the log; until the next start."""

    level: Level


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that is in effect now."""

    configuration: str
    """Path of the file, or `environment`."""


async def reload(call: Call) -> Reloaded:
    """Read the configuration again and change to it."""
    await call.router.reload_file()
    return Reloaded(configuration=str(call.router.config.file or "environment"))


async def log_level(_: Call) -> LogLevel:
    """Return the level of the log."""
    return LogLevel(level=present_level())


async def set_log_level(call: Call) -> LogLevel:
    """Change the level of the log."""
    asked: LogLevel = call.asked
    set_level(asked.level)
    return asked


async def dead_letter(call: Call) -> Letter:
    """Return one dead letter."""
    text = call.path["number"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(400, "a dead letter is named by its number")
    found = await OPERATIONS["dead-letters"].run(call.router.spool, LettersPage(numbers=(int(text),)))
    if not found.items:
        raise Problem(404, f"there is no dead letter {text}")
    letter: Letter = found.items[0]
    return letter


async def _operate(operation: Operation, call: Call) -> msgspec.Struct:
    answer: msgspec.Struct = await operation.run(call.router.spool, call.asked)
    return answer


def operations() -> list[Endpoint]:
    """Return the endpoints of the operations on the spool, which the commands use too."""
    return [
        Endpoint(
            method=operation.method,
            path=f"/{name}",
            summary=operation.summary,
            asks=operation.request,
            answer=operation.answer,
            run=partial(_operate, operation),
            only_owner=operation.only_owner,
        )
        for name, operation in OPERATIONS.items()
    ]
