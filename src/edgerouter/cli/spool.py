"""Operations on a spool: through the control socket of a running router, or by opening the spool of a stopped one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import typer

from edgerouter.admin import status
from edgerouter.admin.client import Client, NoRouter
from edgerouter.admin.control import OPERATIONS
from edgerouter.cli.output import counted, say
from edgerouter.config.model import LogConfig, SpoolConfig, SpoolSection
from edgerouter.config.spool_type import AnySpool
from edgerouter.errors import ConfigurationError, EdgerouterError
from edgerouter.logs.setup import configure
from edgerouter.plugins import open_spool
from edgerouter.spool.contract import Spool
from edgerouter.spool.sqlite.db.schema import FILE


def ask(spool: SpoolSection, operation: str, **arguments: Any) -> dict[str, Any]:
    """Do one operation, wherever it can be done.

    Raises:
        EdgerouterError: it is refused.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        answer: dict[str, Any] = Client(spool.path).ask(OPERATIONS[operation].method, f"/api/v1/{operation}", given)
    except NoRouter:
        if spool.type == "memory":
            raise EdgerouterError("spool.type: memory: no router runs, and such a spool keeps nothing without one") from None
        return asyncio.run(_alone(spool, operation, given))
    return answer


async def _alone(spool: SpoolSection, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    what = OPERATIONS[operation]
    async with _opened(spool) as opened:
        answer: dict[str, Any] = msgspec.to_builtins(await what.run(opened, msgspec.convert(arguments, what.request)))
        return answer


@asynccontextmanager
async def _opened(spool: SpoolSection) -> AsyncIterator[Spool]:
    # the spool logs what it finds damaged, and standard output may be read by a program
    configure(LogConfig(level="warning"))
    if isinstance(spool, AnySpool):
        raise ConfigurationError(*spool.problems)
    if isinstance(spool, SpoolConfig):
        _refuse_a_new_one(spool)
    async with open_spool(spool, socket.gethostname(), command=True) as opened:
        yield opened


def _refuse_a_new_one(spool: SpoolConfig) -> None:
    """Refuse a folder without a spool: looking must not make one, in a folder that was misspelt.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        there = any(spool.path.glob(f"{FILE}*"))
    except OSError as error:
        raise ConfigurationError(f"spool.path: {spool.path}: {error.strerror or error}") from None
    if not there:
        raise ConfigurationError(f"spool.path: {spool.path.absolute()}: there is no spool; a router makes it when it starts first")


def stopped_status(spool: SpoolSection) -> dict[str, Any]:
    """Return the status of a stopped router, from its spool.

    Raises:
        EdgerouterError: it cannot be opened, or there is none.
    """

    async def look() -> dict[str, Any]:
        async with _opened(spool) as opened:
            found: dict[str, Any] = msgspec.to_builtins(status.stopped_status(opened))
            return found

    return asyncio.run(look())


def forget(spool: SpoolSection, sink: str, configured: Collection[str]) -> dict[str, Any]:
    """Give up the position of a sink.

    Args:
        spool: whose.
        sink: its name.
        configured: sinks of the configuration. A stopped router's spool does not know them.

    Raises:
        EdgerouterError: the sink is in the configuration, or the spool does not know it.
    """
    if sink in configured:
        raise EdgerouterError(f"the sink {sink!r} is in the configuration; only one that was removed from it can be forgotten")
    return ask(spool, "forget", sink=sink)


def why_nothing_is_replayed(spool: SpoolSection, *, known: bool) -> str:
    """Say what keeps messages for a replay.

    Args:
        spool: as configured.
        known: the configuration says what `retain` is; a folder alone does not.
    """
    if known and not (spool.retain.age or spool.retain.bytes):
        return ": `spool.retain` is not set, so messages leave the spool once every sink has settled them"
    return ": the spool holds none that match and that it has settled; `spool.retain` says how long delivered messages stay"


def verify(spool: SpoolSection, *, as_json: bool) -> int:
    """Check every chunk and every ledger; exit code 0 when there is nothing to complain of, else 1."""
    found = ask(spool, "verify")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for problem in found["problems"]:
            say(problem, err=True)
        typer.echo(
            f"{counted(found['chunks'], 'chunk')}, {counted(found['messages'], 'message')},"
            f" {counted(found['damaged_chunks'], 'damaged chunk')}"
        )
    return 1 if found["problems"] else 0
