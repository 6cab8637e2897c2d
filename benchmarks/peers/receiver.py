"""Destination of the peers with an HTTP output, in a separate process: appends every message of a body to a file, then answers 204.

Usage: `python -m benchmarks.peers.receiver PORT FILE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from benchmarks.peers.arrived import payloads

LARGEST_BODY = 64 * 1024**2
PATIENCE = 20.0


async def serve(port: int, path: str) -> None:
    """Serve for ever."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def receive(request: web.Request) -> web.Response:
        lines = [b'{"n":%b,"t":%b,"x":"%b"}\n' % found for found in payloads(await request.read())]
        os.write(file, b"".join(lines))
        return web.Response(status=204)

    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    await asyncio.Event().wait()


class Receiver:
    """The receiver's process; it can be killed and started again on the same port."""

    def __init__(self, port: int, file: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._port = port
        self._file = file
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and return once it listens.

        Raises:
            TimeoutError: it does not.
        """
        command = (sys.executable, "-m", "benchmarks.peers.receiver", str(self._port), str(self._file))
        self._process = await asyncio.create_subprocess_exec(*command)
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Kill it: its port refuses connections."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def receiving(port: int, file: Path) -> AsyncIterator[Receiver]:
    """Run a receiver for the length of a `with`."""
    receiver = Receiver(port, file)
    try:
        await receiver.start()
        yield receiver
    finally:
        await receiver.kill()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
