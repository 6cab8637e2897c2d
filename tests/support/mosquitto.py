"""A real mosquitto for tests: started on a free port, stopped, killed and restarted on the same port with its sessions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Self

from support.stopped import freeze

_LOWEST_PORT = 10_000
_USUAL_FIRST_PORT = 32_768
_chance = random.SystemRandom()

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    """Return a TCP port that is free now, and that the system assigns to no client.

    A restarting broker needs its port again, which a client that reconnects meanwhile could otherwise have been assigned.
    """
    for _ in range(100):
        port = _chance.randrange(_LOWEST_PORT, _first_port_of_clients())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def _first_port_of_clients() -> int:
    file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(file.read_text().split()[0]) if file.exists() else _USUAL_FIRST_PORT
    return first if first > 2 * _LOWEST_PORT else _USUAL_FIRST_PORT


class Mosquitto:
    """A broker with a separate folder.

    Args:
        folder: folder for configuration, log and persistence.
        settings: lines of configuration in addition to those of the listener.
        listener: lines of configuration of the listener; `protocol websockets` or certificates for example.
        anonymous: accept clients without credentials.
        port: port to listen on; a free one by default.
    """

    def __init__(
        self,
        folder: Path,
        settings: Sequence[str] = (),
        listener: Sequence[str] = (),
        *,
        anonymous: bool = True,
        port: int | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.log_file = folder / "mosquitto.log"
        self.settings = list(settings)
        self.listener = list(listener)
        self.anonymous = anonymous
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the broker, without TLS."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything that the broker has logged."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def process_id(self) -> int:
        """Number of the broker's process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """True between start and stop."""
        return self._process is not None

    def start(self) -> Self:
        """Start, and return once the broker answers."""
        assert self._process is None, "already started"
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            *self.listener,
            f"allow_anonymous {str(self.anonymous).lower()}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_dest stderr",
            *([] if any(line.startswith("log_type ") for line in self.settings) else ["log_type all"]),
            *([] if any(line.startswith("user ") for line in self.settings) else [f"user {_user()}"]),
            *self.settings,
        ]
        configuration.write_text("\n".join(lines) + "\n")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(configuration)], stderr=log, stdout=log)
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """Stop it as a service manager does: sessions are saved."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a power cut does: unsaved sessions are lost."""
        self._end(signal.SIGKILL)

    def save(self) -> None:
        """Save the broker's sessions now."""
        os.kill(self.process_id, signal.SIGUSR1)

    def reload(self) -> None:
        """Reload configuration, passwords and access lists."""
        os.kill(self.process_id, signal.SIGHUP)

    def freeze(self) -> None:
        """Stop the process without closing connections."""
        freeze(self.process_id)

    def thaw(self) -> None:
        """Let the process continue."""
        os.kill(self.process_id, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            self.stop()

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(how)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process = None

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None, "not started"
        # a WebSocket listener opens later than the others
        ports = [self.port, *(int(line.split()[1]) for line in self.settings if line.startswith("listener "))]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                for port in ports:
                    socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(5)
        self._process = None
        raise RuntimeError(f"mosquitto does not start:\n{self.log}")


def _user() -> str:
    """Return the option that stops mosquitto from dropping root for a user without write access to the test's folder."""
    return "root" if os.geteuid() == 0 else "mosquitto"


@contextlib.contextmanager
def running(folder: Path, *settings: str) -> Iterator[Mosquitto]:
    """Run a broker for the length of a `with`."""
    with Mosquitto(folder, settings) as broker:
        yield broker


@contextlib.asynccontextmanager
async def configured(folder: Path, config: str, port: int) -> AsyncIterator[None]:
    """Run a broker with this configuration file, and stop it as a service manager does.

    Args:
        folder: folder for the file.
        config: text of the file, with a listener on this port.
        port: port of 127.0.0.1.

    Raises:
        TimeoutError: the broker does not start, or does not end.
    """
    file = folder / "mosquitto.conf"
    # a broker that root starts would give up its rights to the test's folder
    file.write_text(f"{config}\nuser {_user()}\n")
    process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", file)
    try:
        async with asyncio.timeout(10):
            while not await _answers(port):
                assert process.returncode is None, f"mosquitto ended with {process.returncode}"
                await asyncio.sleep(0.01)
        yield
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
