"""Baseline of the comparison: plain aiomqtt that appends to a file; no spool, no routing, nothing survives a crash.

Usage: `python benchmarks/baseline.py PORT QOS FILE`. It runs on uvloop like edgerouter, so that the loop makes no difference.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import aiomqtt
import uvloop


async def append(port: int, qos: int, path: str) -> None:
    """Append each payload and a newline to the file, for ever."""
    with open(path, "ab", buffering=0) as file:  # noqa: ASYNC230, PTH123  (as simple as it gets is the point)
        async with aiomqtt.Client("127.0.0.1", port, identifier="baseline", clean_session=False) as client:
            await client.subscribe("sensors/#", qos=qos)
            async for message in client.messages:
                file.write(bytes(message.payload) + b"\n")


async def main() -> None:
    """Run until SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await append(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    uvloop.run(main())
