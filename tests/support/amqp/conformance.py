"""The Event Hubs server in the role that the conformance suite of sinks expects, with faults."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from edgerouter.testing import Received, SinkServer
from support.amqp.event_hub import EventHubs
from support.amqp.faults import Cut, DetachLink, Reject
from support.amqp.hub import Hub
from support.amqp.sas import Policy
from support.amqp.server import serve_tcp, serve_websocket

POLICY, KEY = "gateway", "a-key-of-the-test-Zm9vYmFyYmF6"


class EventHubsServer(SinkServer):
    """One namespace with one hub, `plant`, that listens for AMQP and for AMQP over WebSocket.

    Args:
        hub: hub to use instead of one with 4 partitions.
        inactivity: seconds after which a silent connection is closed.
        tls: speak TLS on both ports; without it the server is an emulator.
    """

    def __init__(self, hub: Hub | None = None, inactivity: float | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.hub = hub or Hub("plant")
        self.tls = tls
        self.service = EventHubs(self.hub, policies={POLICY: Policy(KEY)}, inactivity=inactivity)
        self.amqp_port = self.websocket_port = 0
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen until the context exits."""
        async with self._stack:
            self.amqp_port = (await self._stack.enter_async_context(serve_tcp(self.service, self.tls))).port
            self.websocket_port = (await self._stack.enter_async_context(serve_websocket(self.service, self.tls))).port
            yield self

    def connection_string(self, *, websocket: bool = False, key: str = KEY, hub: str = "plant") -> str:
        """Return it as the portal shows it, or as the emulator does."""
        port = self.websocket_port if websocket else self.amqp_port
        text = f"Endpoint=sb://localhost:{port};SharedAccessKeyName={POLICY};SharedAccessKey={key};EntityPath={hub}"
        return text if self.tls else text + ";UseDevelopmentEmulator=true"

    async def received(self) -> Sequence[Received]:
        events = sorted(self.hub.events, key=lambda event: (event.batch, event.sequence))
        return [
            Received(event.body, event.message.application_properties.get("topic"), event.message.properties["message-id"])
            for event in events
        ]

    async def requests(self) -> int:
        return self.service.deliveries

    async def connections(self) -> int:
        return len(self.service.connections)

    async def fail(self) -> None:
        self.service.faults.on_delivery = lambda _number, _payload: Reject("amqp:internal-error")

    async def throttle(self, seconds: float) -> None:
        text = f"The entity is being throttled. Error code : 50002. Please wait {seconds:g} seconds and try again."
        self.service.faults.on_delivery = lambda _number, _payload: Reject("com.microsoft:server-busy", text)

    async def refuse(self) -> None:
        refusal = "Unauthorized access. 'Send' claim(s) are required to perform this operation."
        self.service.faults.on_attach = Reject("amqp:unauthorized-access", refusal)
        self.service.faults.on_delivery = lambda _number, _payload: DetachLink("amqp:unauthorized-access", refusal)

    async def reject(self, marker: bytes) -> None:
        self.service.faults.on_delivery = lambda _number, payload: Reject("amqp:decode-error") if marker in payload else None

    async def stall(self) -> None:
        self.service.faults.on_delivery = lambda _number, _payload: Cut.SILENT

    async def lose_next_response(self) -> None:
        self.service.faults.deliveries(Cut.AFTER)

    async def cut_next(self) -> None:
        self.service.faults.deliveries(Cut.BEFORE)

    async def heal(self) -> None:
        self.service.faults.heal()

    async def stop(self) -> None:
        await self._stack.aclose()
