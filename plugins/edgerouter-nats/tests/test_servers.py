"""The servers that tests start find ports, also where another process has taken one since it was free.

Covers: tests/support/nats/cluster.py.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from support.nats.cluster import NatsServer


@pytest.mark.parametrize("port", ["port", "monitor_port"])
def test_a_server_whose_port_is_taken_before_its_first_start_gets_others(tmp_path: Path, port: str) -> None:
    server = NatsServer(tmp_path)
    with socket.create_server(("127.0.0.1", getattr(server, port))):
        taken = getattr(server, port)
        with server:
            assert getattr(server, port) != taken
            assert server.monitor("/varz")["port"] == server.port


def test_a_server_that_starts_again_waits_for_its_port_because_clients_know_it(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        port = server.port
        server.kill()
        taken = socket.create_server(("127.0.0.1", port))
        server.start(wait=False)
        while "in use" not in server.log:
            time.sleep(0.01)
        taken.close()
        server.wait()
        assert server.monitor("/varz")["port"] == port
