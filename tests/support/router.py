"""A router in a separate process, as a user starts it: `edgerouter run -c FILE`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from edgerouter.admin.listen import unix_connection


class RouterProcess:
    """A router that can be started, queried, stopped and killed; created by `router`.

    Args:
        folder: folder for the configuration, the spool and the log.
        config: the configuration; `spool.path` defaults to `<folder>/spool`.
        environment: variables for the process, in addition to the current ones.
    """

    def __init__(self, folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.file = folder / "edgerouter.yaml"
        self.log = folder / "router.log"
        self.spool = Path(config.setdefault("spool", {}).setdefault("path", str(folder / "spool")))
        self.tcp: int | None = None
        """Query this TCP port instead of the Unix socket, which is missing if the spool's folder cannot be created."""
        self.config = config
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self.write(config)

    def write(self, config: dict[str, Any]) -> None:
        """Replace the configuration file."""
        self.config = config
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))

    async def check_connect(self) -> tuple[int | None, str]:
        """Return the output of `edgerouter check --connect` in one line, with its exit code."""
        checked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edgerouter.cli.main", "check", "-c", self.file, "--connect"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        out, _ = await asyncio.wait_for(checked.communicate(), 60)
        return checked.returncode, " ".join(out.decode().split())

    @property
    def pid(self) -> int:
        """Number of the running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, *, connected: bool = True) -> None:
        """Start, wait until the router answers and, by default, until its sinks are open and its sources connected."""
        await self.spawn()
        await self.until(lambda status: not connected or self._complete(status), 120)

    def _complete(self, status: dict[str, Any]) -> bool:
        sinks, sources = self.config.get("sinks", {}), self.config.get("sources", {})
        # the sources start last; the environment alone may enable sinks that are in no file
        if not status["sources"] or not status["sinks"].keys() >= sinks.keys():
            return False
        return all(status["sources"][name]["connected"] for name in sources or status["sources"])

    async def spawn(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "edgerouter.cli.main", "run", "-c", self.file, stderr=log, stdout=log, env=self._environment
            )

    async def status(self) -> dict[str, Any]:
        """Return `/api/status`, over the Unix socket.

        Raises:
            OSError, aiohttp.ClientError: the router does not answer.
        """
        status: dict[str, Any] = json.loads(await self.get("/api/status"))
        return status

    async def get(self, path: str) -> bytes:
        """Request any path of the control interface."""
        if self.tcp is not None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.tcp)
        else:
            connection = unix_connection(self.spool)
            connection.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=connection)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if not head.startswith(b"HTTP/1.1 200"):
            raise aiohttp.ClientError(head.decode())
        return body

    async def until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """Wait until the status meets a condition; return that status.

        A condition about a sink or source that the router does not list yet is not met: the router lists them as it starts them.

        Raises:
            TimeoutError: it took longer; the message contains the last status and the end of the log.
            RuntimeError: the process ended.
        """
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if self._process is not None and self._process.returncode is not None:
                        raise RuntimeError(f"the router ended with {self._process.returncode}: {self.tail()}")
                    try:
                        status = await self.status()
                    except (OSError, aiohttp.ClientError, ValueError):
                        pass
                    else:
                        with suppress(KeyError):
                            if condition(status):
                                return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"not within {seconds} s; status {json.dumps(status)}; log: {self.tail()}") from None

    async def until_delivered(self, *sinks: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until nothing is pending for these sinks (all by default)."""
        return await self.until(
            lambda status: all(sink["pending"] == 0 for name, sink in status["sinks"].items() if not sinks or name in sinks),
            seconds,
        )

    async def kill(self) -> None:
        """Send SIGKILL."""
        await self.signal(signal.SIGKILL)

    async def stop(self, seconds: float = 30) -> int:
        """Send SIGTERM; return the exit code."""
        return await self.signal(signal.SIGTERM, seconds)

    async def signal(self, number: signal.Signals, seconds: float = 30) -> int:
        """Send a signal that ends the process, wait for its end, and return the exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(seconds):
            code = await process.wait()
        self._process = None
        return code

    def tail(self, size: int = 3000) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


class ForkedRouter(RouterProcess):
    """A router that starts in milliseconds, because its process is forked from one with all imports done."""

    _zygote: asyncio.subprocess.Process
    _forked: int | None = None
    _exit: asyncio.Future[int]

    async def open(self) -> None:
        """Start the process that routers are forked from."""
        self._zygote = await asyncio.create_subprocess_exec(
            sys.executable,
            Path(__file__).with_name("zygote.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )

    async def close(self) -> None:
        """End it, together with a router that still runs."""
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        await self._zygote.wait()

    @property
    def pid(self) -> int:
        assert self._forked is not None
        return self._forked

    async def spawn(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(f"{self.file}\t{self.log}\n".encode())
        self._forked = int((await self._said("started"))[0])

    async def signal(self, number: signal.Signals, seconds: float = 30) -> int:
        if self._forked is None:
            return 0
        os.kill(self._forked, number)
        async with asyncio.timeout(seconds):
            _, code = await self._said("ended")
        self._forked = None
        return int(code)

    async def _said(self, word: str) -> list[str]:
        assert self._zygote.stdout is not None
        said, *rest = (await self._zygote.stdout.readline()).decode().split()
        assert said == word, (said, rest, self.tail())
        return rest


@asynccontextmanager
async def forked_router(folder: Path, config: dict[str, Any]) -> AsyncIterator[ForkedRouter]:
    """Yield a router that can be started and killed many times; not started yet, killed at the end."""
    process = ForkedRouter(folder, config)
    await process.open()
    try:
        yield process
    finally:
        await process.close()


@asynccontextmanager
async def router(folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None) -> AsyncIterator[RouterProcess]:
    """Yield a router process that is not started yet, and kill it at the end."""
    process = RouterProcess(folder, config, environment)
    try:
        yield process
    finally:
        await process.kill()
