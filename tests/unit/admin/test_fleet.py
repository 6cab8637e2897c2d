"""Many routers are asked at once: their ledgers are summed exactly, and no router holds up or falsifies the others' numbers.

Covers also: edgerouter.cli.fleet, edgerouter.cli.fleet_table.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgerouter.admin import fleet
from edgerouter.admin.fleet import Found, ask_all, by_sink, total
from edgerouter.admin.listen import unix_listener
from edgerouter.cli import fleet_table
from edgerouter.errors import EdgerouterError
from support.status import SINK, SOURCE, SPOOL, router_status

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def status(spool: str, delivered: int, pending: int, **changes: Any) -> bytes:
    """The answer of a router with one sink."""
    sink = msgspec.structs.replace(SINK, matched=delivered + pending, delivered=delivered, pending=pending)
    fields: dict[str, Any] = {"sinks": {"cloud": sink}, "sources": {"in": SOURCE}, "spool": _with_id(spool)}
    return msgspec.json.encode(router_status(**fields | changes))


def _with_id(spool: str) -> Any:
    return msgspec.to_builtins(SPOOL) | {"id": spool}


def answering(body: bytes, *, code: str = "200 OK", heads: list[bytes] | None = None) -> Serve:
    """Answer every request with this body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        writer.write(f"HTTP/1.1 {code}\r\nContent-Length: {len(body)}\r\nLocation: http://127.0.0.1:1/\r\n\r\n".encode() + body)
        await writer.drain()

    return serve


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"version": "')
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


def closing(serve: Serve) -> Serve:
    """End the connection after the answer, or when the client does."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    return serve_and_close


@asynccontextmanager
async def routers(*serve: Serve) -> AsyncIterator[list[str]]:
    """Run servers; yield their addresses."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(await asyncio.start_server(closing(each), "127.0.0.1", 0)) for each in serve]
        yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]


async def ask(targets: list[str], *, seconds: float = 10.0, token: str | None = None) -> list[Found]:
    return await ask_all(targets, seconds=seconds, token=token, authorities=None)


async def test_ledgers_are_summed_by_sink_and_each_router_has_its_state() -> None:
    draining = status("b", 5, 7, draining=True)
    async with routers(answering(status("a", 10, 1)), answering(draining)) as urls:
        found = await ask(urls)
    assert [each.answer.state for each in found if each.answer] == ["ok", "draining"]
    (cloud,) = by_sink(found).values()
    summed = total(cloud)
    assert (summed.matched, summed.delivered, summed.pending, summed.difference) == (23, 15, 8, 0)


HOSTILE: dict[str, Serve] = {
    "silent": silent,
    "endless": endless,
    "not JSON": answering(b"<html>"),
    "another JSON": answering(b'{"version": 7}'),
    "deep": answering(b"[" * 200_000),
    "a number of 5,000 digits": answering(status("x", 1, 0).replace(b'"matched":1', b'"matched":' + b"9" * 5000)),
    "too many sinks": answering(status("x", 1, 0, sinks={f"s{n}": SINK for n in range(5001)})),
    "refusing": answering(b"", code="401 Unauthorized"),
    "redirecting": answering(b"", code="302 Found"),
    "nothing": answering(b"", code="204 No Content"),
}


async def test_no_router_that_is_dead_slow_or_hostile_holds_up_or_changes_the_others() -> None:
    started = time.monotonic()
    async with routers(answering(status("a", 10, 1)), *HOSTILE.values()) as urls:
        found = await ask([*urls, "http://127.0.0.1:1", "/no/such/folder"], seconds=1.5)
    assert time.monotonic() - started < 10
    assert found[0].counts
    reasons = {name: each.error for name, each in zip([*HOSTILE, "dead", "gone"], found[1:], strict=True)}
    assert all(each.answer is None for each in found[1:])
    assert "no answer within 1.5 s" in reasons["silent"]
    assert "8 MiB" in reasons["endless"] or "no answer" in reasons["endless"]
    assert "--token-file" in reasons["refusing"]
    assert "302" in reasons["redirecting"]
    assert "more than 5000 sinks" in reasons["too many sinks"]
    assert reasons["dead"] == "Connection refused"
    assert reasons["gone"] == "No such file or directory"
    assert all(len(reason) <= 300 for reason in reasons.values())
    assert total(by_sink(found)["cloud"]).matched == 11


async def test_a_router_named_twice_counts_once() -> None:
    async with routers(answering(status("a", 10, 1)), answering(status("a", 10, 1))) as urls:
        found = await ask([*urls, urls[0]])
    assert [each.counts for each in found] == [True, False, False]
    assert found[1].error == f"the same router as {urls[0]}"


async def test_the_token_goes_to_urls_and_into_no_error(tmp_path: Path) -> None:
    heads: list[bytes] = []
    async with routers(answering(b"no", heads=heads), answering(b"", code="401 secret-token")) as urls:
        found = await ask(urls, token="secret-token")
    assert b"Authorization: Bearer secret-token\r\n" in heads[0]
    assert not any("secret-token" in each.error for each in found)
    listener = unix_listener(tmp_path)
    listener.setblocking(False)
    async with await asyncio.start_unix_server(closing(answering(status("a", 1, 1), heads=heads)), sock=listener):
        (at_folder,) = await ask([str(tmp_path)], token="secret-token")
    assert at_folder.counts
    assert b"secret-token" not in heads[1]


def show(
    capsys: pytest.CaptureFixture[str], found: list[Found], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[int, str]:
    """Return exit code and output of the command."""

    async def asked(*_: object, **__: object) -> list[Found]:
        return found

    monkeypatch.setattr(fleet_table, "ask_all", asked)
    monkeypatch.setenv("COLUMNS", "300")
    chosen: dict[str, Any] = {"seconds": 1.0, "token_file": None, "authorities": None, "as_json": False} | options
    return fleet_table.show_all(["x"], **chosen), capsys.readouterr().out


def found_of(body: bytes, target: str = "http://a") -> Found:
    return Found(target, msgspec.json.decode(body, type=fleet.Answer))


def test_the_table_has_a_row_a_router_a_sum_and_a_row_a_sink(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [found_of(status("a", 10, 1)), found_of(status("b", 5, 7), "http://b")]
    code, text = show(capsys, found, monkeypatch)
    assert code == 0
    (row,) = [line for line in text.splitlines() if line.startswith("sum")]
    assert "2 of 2 routers answered" in row
    assert row.split()[-6:] == ["23", "15", "0", "0", "0", "8"]
    (row,) = [line for line in text.splitlines() if line.startswith("cloud")]
    assert row.split() == ["cloud", "2", "ok", "2", "23", "15", "0", "0", "0", "8"]
    code, text = show(capsys, found, monkeypatch, as_json=True)
    assert json.loads(text)["sum"] == {
        "matched": 23, "delivered": 15, "filtered": 0, "dead_lettered": 0, "dropped": 0, "pending": 8, "uncounted": 0,
    }  # fmt: skip
    assert [row["state"] for row in json.loads(text)["routers"]] == ["ok", "ok"]


def test_a_missing_answer_and_a_ledger_that_does_not_add_up_are_faults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = status("a", 10, 1).replace(b'"matched":11', b'"matched":12')
    code, text = show(capsys, [found_of(odd), Found("http://b", None, "refused\x1b[2J")], monkeypatch)
    assert code == 1
    assert "http://a: the ledger of cloud does not add up: 1 messages of `matched` are in no other number" in text
    assert "http://b: refused" in text
    assert "\x1b[2J" not in text


def test_names_of_a_hostile_router_are_shown_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = "\x1b[2J[red]\u202e" + "x" * 10_000
    code, text = show(capsys, [found_of(status("a", 1, 0, sinks={name: SINK}, host=name))], monkeypatch)
    assert code == 0
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 2000


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff", b"a\x07"])
def test_a_file_without_a_token_is_refused_and_not_shown(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EdgerouterError, match="--token-file"):
        fleet_table.show_all(["x"], seconds=1, token_file=file, authorities=None, as_json=False)
