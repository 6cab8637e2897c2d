"""An MQTT broker inside this process, for the demo only."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker
from amqtt.errors import AMQTTError

ATTEMPTS = 5


@asynccontextmanager
async def broker() -> AsyncIterator[int]:
    """A broker on a free port of this machine, reachable from nowhere else; yields the port.

    Raises:
        AMQTTError: it does not start.
    """
    # it logs every connection and packet, and what the demo has to say stands in the table
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    running, port = await _started()
    try:
        yield port
    finally:
        await running.shutdown()


async def _started() -> tuple[Broker, int]:
    attempt = 0
    while True:
        attempt += 1
        port = _free_port()
        running = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            },
            loop=asyncio.get_running_loop(),
        )
        try:
            await running.start()
        except AMQTTError:
            # another process has taken the port meanwhile
            if attempt == ATTEMPTS:
                raise
        else:
            return running, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
