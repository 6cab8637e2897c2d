"""Status of many routers: asks all at the same time within bounds, and sums their ledgers by sink."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from edgerouter.admin.client import trusting
from edgerouter.admin.listen import SOCKET_NAME, short_path
from edgerouter.errors import EdgerouterError
from edgerouter.http_client import PLAIN, beginning, bounded, explain_plain_port
from edgerouter.masking import mask

MOST_ANSWER_BYTES: Final = 8 * 1024**2
"""Status of a router with thousands of sinks."""
MOST_SINKS: Final = 5000
"""Sinks of one answer; more would fill the screen and the memory."""
MOST_AT_ONCE: Final = 64
"""Routers asked at the same time."""
MOST_ROUTERS: Final = 10_000
NUMBERS: Final = ("matched", "delivered", "filtered", "dead_lettered", "dropped", "pending")
"""Ledger of a sink, in the order of its equation."""
_LONGEST_ERROR: Final = 300


class SinkNumbers(msgspec.Struct, kw_only=True):
    """Ledger of a sink in an answer, or a sum of them."""

    matched: int
    delivered: int
    filtered: int = 0
    dead_lettered: int
    dropped: int
    pending: int
    uncounted: int = 0
    state: str = ""
    ledger_error: str = ""

    @property
    def difference(self) -> int:
        """`matched` less everything that became of them; 0 in order."""
        return self.matched - self.delivered - self.filtered - self.dead_lettered - self.dropped - self.pending

    def add(self, other: SinkNumbers) -> None:
        """Add the numbers of another router."""
        for name in (*NUMBERS, "uncounted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Source(msgspec.Struct, kw_only=True):
    connected: bool
    paused: bool = False


class _Spool(msgspec.Struct, kw_only=True):
    id: str
    state: str
    messages: int
    bytes: int


class Answer(msgspec.Struct, kw_only=True):
    """Part of `/api/status` that is needed here; a router of another version may send more or less of the rest."""

    version: str
    host: str
    started_at: float
    uptime_seconds: float
    sources: dict[str, _Source]
    spool: _Spool
    sinks: dict[str, SinkNumbers]
    detached: dict[str, SinkNumbers] = {}
    draining: bool = False

    @property
    def identity(self) -> tuple[str, str, float]:
        """Equal for two addresses of one router."""
        return self.spool.id, self.host, self.started_at

    @property
    def state(self) -> str:
        """`ok`, or everything that is not."""
        states = ["draining"] if self.draining else []
        away = sum(not source.connected for source in self.sources.values())
        if away:
            states.append(f"{away} of {len(self.sources)} sources not connected")
        if self.spool.state != "ok":
            states.append(f"spool {self.spool.state}")
        states += [f"{name} {sink.state}" for name, sink in self.sinks.items() if sink.state != "ok"]
        return ", ".join(states) or "ok"

    @property
    def total(self) -> SinkNumbers:
        """Sum over all sinks, those no longer configured included."""
        return total([*self.sinks.values(), *self.detached.values()])


@dataclass(frozen=True, slots=True)
class Found:
    """Result of asking one router."""

    target: str
    answer: Answer | None = None
    error: str = ""
    """Reason for the missing answer, or for not counting the one there is."""

    @property
    def counts(self) -> bool:
        """It answered, and is not one that was counted before."""
        return self.answer is not None and not self.error


def total(numbers: Iterable[SinkNumbers]) -> SinkNumbers:
    """Return the sum of ledgers."""
    found = SinkNumbers(matched=0, delivered=0, dead_lettered=0, dropped=0, pending=0)
    for each in numbers:
        found.add(each)
    return found


def by_sink(found: Iterable[Found]) -> dict[str, list[SinkNumbers]]:
    """Return the ledgers of all routers by the name of their sink."""
    sinks: dict[str, list[SinkNumbers]] = {}
    for each in found:
        if each.answer is not None and each.counts:
            for name, numbers in [*each.answer.sinks.items(), *each.answer.detached.items()]:
                sinks.setdefault(name, []).append(numbers)
    return sinks


async def ask_all(targets: Sequence[str], *, seconds: float, token: str | None, authorities: Path | None) -> list[Found]:
    """Ask all routers; the slowest costs `seconds`, whatever it does.

    Args:
        targets: `http://HOST:PORT`, `https://HOST:PORT`, or the folder of a spool on this machine.
        seconds: for one router.
        token: sent to every URL as bearer token.
        authorities: PEM file of the authorities that signed the routers' certificates; the system's by default.

    Raises:
        EdgerouterError: the authorities cannot be read, or there are too many targets.
    """
    if len(targets) > MOST_ROUTERS:
        raise EdgerouterError(f"{len(targets)} routers are more than {MOST_ROUTERS}")
    context = trusting(authorities)
    headers = {**PLAIN, "Connection": "close"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    at_once = asyncio.Semaphore(MOST_AT_ONCE)

    async def found(target: str) -> Found:
        async with at_once:
            return await _ask(target, seconds, headers, context)

    return _without_repeats(await asyncio.gather(*map(found, targets)))


async def _ask(target: str, seconds: float, headers: dict[str, str], context: ssl.SSLContext) -> Found:
    try:
        async with asyncio.timeout(seconds):
            return Found(target, _decoded(await _body(target, headers, context)))
    except TimeoutError:
        error = f"no answer within {seconds:g} s"
    except aiohttp.ClientResponseError as failed:
        error = _refusal(failed)
    except (aiohttp.ClientError, OSError, ValueError) as failed:
        error = explain_plain_port(failed) or _reason(failed)
    return Found(target, None, mask(error)[:_LONGEST_ERROR])


async def _body(target: str, headers: dict[str, str], context: ssl.SSLContext) -> bytes:
    async with AsyncExitStack() as stack:
        if target.startswith(("http://", "https://")):
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(ssl=context)
            url = target.rstrip("/")
        else:
            # the token is for the network: the owner of the socket needs none
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
            connector = aiohttp.UnixConnector(stack.enter_context(short_path(Path(target) / SOCKET_NAME)))
            url = "http://localhost"
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=bounded(connector), headers=headers, cookie_jar=aiohttp.DummyCookieJar())
        )
        async with session.get(f"{url}/api/status", allow_redirects=False) as response:
            if response.status != 200:
                response.raise_for_status()
                raise ValueError(f"HTTP {response.status} is not a status")
            body = await beginning(response, MOST_ANSWER_BYTES + 1)
            if len(body) > MOST_ANSWER_BYTES:
                raise ValueError(f"an answer of more than {MOST_ANSWER_BYTES // 1024**2} MiB")
            return body


def _decoded(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ValueError: it is not the status of a router.
    """
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not the status of a router: {error}") from None
    if len(answer.sinks) + len(answer.detached) > MOST_SINKS or len(answer.sources) > MOST_SINKS:
        raise ValueError(f"a status with more than {MOST_SINKS} sinks or sources")
    return answer


def _refusal(failed: aiohttp.ClientResponseError) -> str:
    if failed.status == 401:
        return "HTTP 401: it wants a token, see --token-file"
    return f"HTTP {failed.status} {failed.message}"


def _reason(failed: Exception) -> str:
    if isinstance(failed, aiohttp.ClientConnectorError):
        failed = failed.os_error
    if isinstance(failed, OSError) and failed.errno:
        return os.strerror(failed.errno) if failed.errno > 0 else str(failed)
    return str(failed) or type(failed).__name__


def _without_repeats(found: list[Found]) -> list[Found]:
    """Mark a router that was asked at two addresses: it must not be counted twice."""
    first: dict[tuple[str, str, float], Found] = {}

    def marked(each: Found) -> Found:
        before = each if each.answer is None else first.setdefault(each.answer.identity, each)
        return each if before is each else Found(each.target, each.answer, f"the same router as {before.target}")

    return [marked(each) for each in found]
