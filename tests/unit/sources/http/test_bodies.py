"""A body is received, decompressed and split within bounds, and a wrong one says what is wrong with it."""

import asyncio
import gzip
import zlib

import pytest

from support.http_source import serving


async def test_a_compressed_body_is_stored_decompressed() -> None:
    async with serving() as web:
        assert (await web.ask("/topics/a", gzip.compress(b"abc"), Content_Encoding="gzip")).status == 202
        assert (await web.ask("/topics/a", b"plain", Content_Encoding="identity")).status == 202
    assert [payload for _, payload in web.stored] == [b"abc", b"plain"]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(bytes(10_000_000)), "gzip", 413),
        (b"abc", "gzip", 400),
        (gzip.compress(b"abc")[:-4], "gzip", 400),
        (gzip.compress(b"abc") + b"more", "gzip", 400),
        (zlib.compress(b"abc"), "deflate", 415),
    ],
    ids=["a bomb", "not gzip", "cut short", "more behind it", "another coding"],
)
async def test_a_body_that_cannot_be_decompressed_is_refused(body: bytes, coding: str, status: int) -> None:
    async with serving(max_body_bytes="1MiB") as web:
        assert (await web.ask("/topics/a", body, Content_Encoding=coding)).status == status
    assert not web.stored


async def test_a_coding_beside_another_is_refused_wherever_it_is_named() -> None:
    """Otherwise the compressed bytes are stored as the message."""
    packed = gzip.compress(b"abc")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    async with serving() as web, web.client() as client:
        two_lines = {"Content_Encoding": "identity\r\nContent-Encoding: gzip"}
        assert (await client.ask("/topics/a", packed, **two_lines)).status == 415
        assert (await web.ask("/topics/a", chunks, Transfer_Encoding="gzip, chunked")).status == 501
        assert (await web.ask("/topics/a", chunks, Transfer_Encoding="Chunked", Content_Encoding="gzip")).status == 202
    assert [payload for _, payload in web.stored] == [b"abc"]


async def test_a_body_up_to_the_bound_is_stored_and_a_larger_one_is_not() -> None:
    async with serving(max_body_bytes=300_000) as web:
        assert (await web.ask("/topics/a", b"x" * 300_000)).status == 202
        refused = await web.ask("/topics/a", b"x" * 300_001)
        in_chunks = await web.ask("/topics/a", b"5\r\nabcde\r\n2\r\nfg\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert refused.status == 413
    assert "300000 bytes (`max_body_bytes`)" in refused.detail
    assert in_chunks.status == 202
    assert [len(payload) for _, payload in web.stored] == [300_000, 7]


async def test_half_received_bodies_count_against_the_bound_of_what_is_held() -> None:
    async with serving(max_body_bytes="200KiB", max_unacknowledged_bytes="200KiB") as web:
        async with web.client() as slow, asyncio.timeout(30):
            slow.send("/topics/a", b"x" * 190_000, length=200_000)
            # until all of it has arrived there is room
            while (await web.ask("/topics/a", b"x" * 100_000)).status != 503:
                await asyncio.sleep(0.01)
            slow.writer.write(b"x" * 10_000)
            assert (await slow.answer()).status == 202
        assert (await web.ask("/topics/a", b"x" * 200_000)).status == 202


async def test_a_body_that_ends_early_stores_nothing() -> None:
    async with serving() as web, web.client() as client:
        client.send("/topics/a", b"4\r\nabc", Transfer_Encoding="chunked")
        client.writer.write_eof()
        assert await client.closed()
    assert not web.stored


@pytest.mark.parametrize(
    ("form", "body", "status", "words"),
    [
        ("array", b"[]", 400, "no message"),
        ("array", b'{"a": 1}', 400, "JSON array"),
        ("array", b"[1, 2", 400, "JSON array"),
        ("array", b"[1,2,3,4]", 413, "at most 3 messages"),
        ("array", b"[" + b"0," * 100 + b"0]", 413, "at most 3 messages"),
        pytest.param("array", b"[" * 100_000, 400, "JSON array", id="a deep array"),
        ("lines", b"\n\n", 400, "no message"),
        pytest.param("lines", b"[" * 100_000, 400, "line 1", id="a deep line"),
        ("lines", b"1\n{\n", 400, "line 2"),
        ("lines", b"1\n2\n3\n4", 413, "at most 3 messages"),
        ("lines", b"\n" * 100, 413, "at most 3 messages"),
    ],
)
async def test_a_batch_that_is_wrong_or_too_long_is_refused_as_a_whole(form: str, body: bytes, status: int, words: str) -> None:
    async with serving(max_batch_messages=3) as web:
        answer = await web.ask(f"/topics/a?batch={form}", body)
    assert answer.status == status
    assert words in answer.detail
    assert not web.stored


async def test_elements_are_stored_byte_for_byte() -> None:
    async with serving() as web:
        await web.ask("/topics/a?batch=array", '[ {"a" :1.0}, "ä,\\u00e4", [1, 2]]'.encode())
        await web.ask("/topics/a?batch=lines", b'{"a" :1.0}\r\n  2\n')
    assert [payload for _, payload in web.stored] == [b'{"a" :1.0}', '"ä,\\u00e4"'.encode(), b"[1, 2]", b'{"a" :1.0}', b"2"]
