"""The stdout sink, in a separate process whose output is a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgerouter import SinkContext
from edgerouter.sinks.stdout import StdoutConfig, StdoutSink
from edgerouter.testing import make_message

SCRIPT = """
import asyncio, os, sys
from edgerouter import SinkContext, Unavailable
from edgerouter.sinks.stdout import StdoutConfig, StdoutSink
from edgerouter.testing import make_message

async def main():
    async with StdoutSink.open(StdoutConfig(framing=sys.argv[1]), SinkContext("out", "edge-1", "5p00l")) as sink:
        {body}

asyncio.run(main())
"""
WRITE_THREE = "await sink.write([make_message(b'%d' % n, sequence=n) for n in (1, 2, 3)])"


def run(body: str, framing: str = "jsonl") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body), framing], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_messages_are_lines_on_standard_output() -> None:
    out, error = run(WRITE_THREE).communicate(timeout=20)

    assert error == b""
    assert [json.loads(line)["payload"] for line in out.splitlines()] == [1, 2, 3]


def test_payloads_are_lines_on_standard_output() -> None:
    out, _ = run(WRITE_THREE, "raw-lines").communicate(timeout=20)

    assert out == b"1\n2\n3\n"


def test_a_batch_is_out_when_the_write_returns() -> None:
    process = run(WRITE_THREE + "; await asyncio.Event().wait()", "raw-lines")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    process.kill()
    process.communicate(timeout=20)


def test_a_reader_that_went_away_is_unavailable() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT.format(
                body="""
        try:
            await sink.write([make_message()])
        except Unavailable as error:
            print(error, file=sys.stderr)""".strip()
            ),
            "jsonl",
        ],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=True,
        timeout=20,
    )
    os.close(writing)

    assert result.stderr == b"cannot write to standard output: its reader has closed it\n"


def test_a_slow_reader_holds_up_neither_the_event_loop_nor_a_line() -> None:
    """The pipe is full and non-blocking; the loop goes on, and every byte comes through in the end."""
    process = run(
        """
        os.set_blocking(1, False)
        writing = asyncio.create_task(sink.write([make_message(b"x" * 1000, sequence=n) for n in range(1000)]))
        for _ in range(50):
            await asyncio.sleep(0.001)
        print("the loop runs", writing.done(), file=sys.stderr, flush=True)
        await writing""".strip(),
        "raw-lines",
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"the loop runs False\n"
    out, _ = process.communicate(timeout=20)

    assert out == (b"x" * 1000 + b"\n") * 1000


async def test_sizes_are_those_of_the_lines() -> None:
    async with StdoutSink.open(StdoutConfig(framing="raw-lines"), SinkContext("out", "edge-1", "5p00l")) as sink:
        assert sink.size_of(make_message(b"123")) == 4


def test_one_payload_an_object_makes_no_sense_on_standard_output() -> None:
    with pytest.raises(ValueError, match="framing"):
        StdoutConfig.model_validate({"framing": "payload"})
