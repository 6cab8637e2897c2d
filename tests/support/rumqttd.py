"""A real rumqttd for tests, from the wheel of `iotcore`: its shared subscriptions move messages of a dead member at once."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support.mosquitto import free_port

_PROGRAM = """
import logging, sys
from iotcore.iotcore import IotCoreBroker
logging.basicConfig(level="WARNING")
logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
IotCoreBroker(config_path=sys.argv[1]).run_forever()
"""
_CONFIGURATION = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 100
shared_subscriptions_strategy = "roundrobin"
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
[v4.1]
name = "v4"
listen = "127.0.0.1:{old}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
[console]
listen = "127.0.0.1:{console}"
"""


class Rumqttd:
    """A running broker; it has a port for each version of MQTT."""

    def __init__(self, port: int, publish_port: int) -> None:
        self.port = port
        """For MQTT 5."""
        self.publish_port = publish_port
        """For MQTT 3.1.1, which the load generator speaks."""

    @property
    def url(self) -> str:
        """URL of the broker."""
        return f"mqtt://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rumqttd]:
    """Run a broker for the length of a `with`."""
    folder.mkdir(parents=True, exist_ok=True)
    port, old = free_port(), free_port()
    configuration = folder / "rumqttd.toml"
    configuration.write_text(_CONFIGURATION.format(port=port, old=old, console=free_port()))
    with (folder / "rumqttd.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(configuration)], stdout=log, stderr=log)
    try:
        _wait_until_it_answers(process, port)
        _wait_until_it_answers(process, old)
        yield Rumqttd(port, old)
    finally:
        process.kill()
        process.wait(5)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise RuntimeError("rumqttd does not start")
