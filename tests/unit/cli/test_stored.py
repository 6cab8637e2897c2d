"""Messages are read out of a spool as they came, page by page, and the spool stays as it was."""

import asyncio
from pathlib import Path

import pytest

from edgerouter import Message, Properties
from edgerouter.cli.stored import stored
from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool, operator
from edgerouter.spool.memory import operator as memory_operator
from edgerouter.spool.sqlite import operator as sqlite_operator
from support.spools import RECEIVED, Pipe, fresh, route, sqlite, take

AWKWARD = [
    Message("a/b", b"\x00\xff", RECEIVED, 2, retained=True),
    Message("a/b", b'{"n": 1e999}', RECEIVED + 1000, 1, properties=Properties(user=(("k", "v"), ("k", "w")), content_type="x")),
    Message("a/b", b'{"base64": "AA=="}', RECEIVED + 2000, 0, properties=Properties(correlation_data=b"\xff", expiry=0)),
    Message("a/c", b'"text"', RECEIVED + 3000, 0),
    Message("a/c", b"", RECEIVED + 4000, 0),
]


async def fill(config: SpoolConfig) -> tuple[list[Message], list[Message]]:
    async with open_spool(config) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("s", start="oldest"))
        for messages in (AWKWARD, fresh(3)):
            await pipe.append(messages)
        taken = await take(reader, 8)
        # settled messages are shown too, as long as they are there
        reader.delivered(taken[:2])
        found: list[Message] = []
        start = 1
        while start:
            page = await spool.tools.stored(start, since=RECEIVED + 1000)
            found += page.messages
            start = page.next
        return taken, found


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operator.STORED_BYTES == 4 * 1024**2
    for module in (memory_operator, sqlite_operator):
        monkeypatch.setattr(module, "STORED_BYTES", 1)


def test_every_message_comes_out_as_it_came_in(tmp_path: Path) -> None:
    config = sqlite(tmp_path, retain={"age": "1h", "bytes": "1MiB"})
    taken, _ = asyncio.run(fill(config))
    for _ in range(2):
        found = list(stored(config, "#", None))
        assert [m.payload for m in found] == [m.payload for m in taken]
        assert [(m.id, m.topic, m.qos, m.retained, m.properties) for m in found] == [
            (m.id, m.topic, m.qos, m.retained, m.properties) for m in taken
        ]
        assert [m.received_at // 1000 for m in found] == [m.received_at // 1000 for m in taken]
    assert [m.payload for m in stored(config, "a/c", None)] == [b'"text"', b""]
    assert not list(stored(config, "#", RECEIVED + 10**9))


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_time_range_takes_the_same_messages_from_both_spools(kind: str, tmp_path: Path) -> None:
    config = sqlite(tmp_path) if kind == "sqlite" else SpoolConfig(type="memory", path=tmp_path)
    taken, found = asyncio.run(fill(config))
    assert found == taken[1:]
