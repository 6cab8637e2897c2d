"""A router in a separate process, as a user starts it: `edgerouter run -c FILE`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from edgerouter.admin.listen import unix_connection
from support.command import run
from support.forking import ForkedProcess, fork


class RouterProcess:
    """A router that can be started, queried, stopped and killed; created by `router`.

    Args:
        folder: folder for the configuration, the spool and the log.
        config: the configuration; `spool.path` defaults to `<folder>/spool`.
        environment: variables for the process, in addition to the current ones.
        fresh: start a new interpreter, for what a forked process cannot show: memory, imports.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None, *, fresh: bool = False
    ) -> None:
        self.folder = folder
        self.file = folder / "edgerouter.yaml"
        self.log = folder / "router.log"
        self.spool = Path(config.setdefault("spool", {}).setdefault("path", str(folder / "spool")))
        self.tcp: int | None = None
        """Query this TCP port instead of the Unix socket, which is missing if the spool's folder cannot be created."""
        self.config = config
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._fresh = fresh
        self.write(config)

    def write(self, config: dict[str, Any]) -> None:
        """Replace the configuration file."""
        self.config = config
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))

    async def check_connect(self) -> tuple[int, str]:
        """Return the output of `edgerouter check --connect` in one line, with its exit code."""
        checked = await asyncio.to_thread(run, "check", "-c", self.file, "--connect", environment=self._environment)
        return checked.returncode, " ".join((checked.stdout + checked.stderr).split())

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
        await self._run("-c", str(self.file), environment=self._environment)

    async def _run(self, *options: str, environment: Mapping[str, str], folder: Path | None = None) -> None:
        if not self._fresh and "LD_PRELOAD" not in environment:
            self._process = await fork(["run", *options], environment=environment, log=self.log, folder=folder)
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edgerouter.cli.main", "run", *options),
                stderr=log,
                stdout=log,
                env=environment,
                cwd=folder,
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
        """Wait until nothing is pending for these sinks (all by default), and nothing waits to be counted."""
        return await self.until(
            lambda status: (
                not any(
                    sink["pending"] or sink["uncounted"] for name, sink in status["sinks"].items() if not sinks or name in sinks
                )
            ),
            seconds,
        )

    async def kill(self) -> None:
        """Send SIGKILL."""
        await self.signal(signal.SIGKILL)

    async def stop(self, seconds: float = 30) -> int:
        """Send SIGTERM; return the exit code."""
        return await self.signal(signal.SIGTERM, seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    async def signal(self, number: signal.Signals, seconds: float = 30) -> int:
        """Send a signal that ends the process, wait for its end, and return the exit code."""
        if self._process is not None and self._process.returncode is None:
            self.send(number)
        return await self.wait(seconds)

    async def wait(self, seconds: float = 30) -> int:
        """Wait for the end of the process, and return its exit code."""
        process = self._process
        if process is None:
            return 0
        async with asyncio.timeout(seconds):
            code = await process.wait()
        self._process = None
        return code

    def tail(self, size: int = 3000) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


@asynccontextmanager
async def router(
    folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None, *, fresh: bool = False
) -> AsyncIterator[RouterProcess]:
    """A router process that is not started yet, killed in the end; see `RouterProcess`."""
    process = RouterProcess(folder, config, environment, fresh=fresh)
    try:
        yield process
    finally:
        await process.kill()
