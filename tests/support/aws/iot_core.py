"""A strict AWS IoT Core over MQTT: it ends the connection for whatever its limits do not allow.

https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Self
from urllib.parse import quote, unquote

from aiohttp import web

from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.properties import parse_properties
from edgerouter.testing import Received, SinkServer
from support.mqtt_packets import Connect
from support.strict_broker import Client, Published, StrictBroker, acknowledge
from support.websocket_bridge import Bridge, bridging

ENDPOINT = "a1b2c3-ats.iot.eu-west-1.amazonaws.com"
ALPN = "x-amzn-mqtt-ca"
_LARGEST = 128 * 1024
_BASIC_INGEST = re.compile(r"\$aws/rules/\w+/")
_FAILED, _NOT_AUTHORIZED, _QUOTA, _FORMAT = 0x83, 0x87, 0x97, 0x99
_writer: ContextVar[asyncio.StreamWriter] = ContextVar("writer")


class IotCore(StrictBroker):
    """A message broker for one account."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        """Violations of the service's limits."""
        self.messages: list[Published] = []
        self.requests = 0
        self.widest = 0
        """Most publishes in flight."""
        self.delay = 0.0
        """Seconds before each PUBACK."""
        self.needs_alpn: set[int] = set()
        """Ports on which the client names the protocol."""
        self.server_names: list[str | None] = []
        self.refusing = False
        self.on_publish: Callable[[Client, Published], int | None] = lambda _client, _published: 0
        """Reason code of the PUBACK; `None`: no answer."""
        self.open: list[asyncio.StreamWriter] = []
        self.connack_properties = b"\x21\x00\x64\x24\x01\x27" + struct.pack("!I", 149_504) + b"\x22\x00\x08"
        self.admit = self._check_connect
        self.puback = self._take
        self._times: dict[int, deque[float]] = {}
        self._in_flight: dict[int, int] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _writer.set(writer)
        self.open.append(writer)
        try:
            await super().take(reader, writer)
        finally:
            self.open.remove(writer)

    def _check_connect(self, connect: Connect) -> int | None:
        writer = _writer.get()
        if self.refusing:
            return _NOT_AUTHORIZED if connect.version == 5 else 5
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        port = writer.get_extra_info("sockname")[1]
        if port in self.needs_alpn and (tls is None or tls.selected_alpn_protocol() != ALPN):
            self.problems.append("no ALPN on port 443")
            return None
        if not 0 < len(connect.client_id.encode()) <= 128 or not 30 <= connect.keepalive <= 1200:
            self.problems.append(f"client id {connect.client_id!r}, keep alive {connect.keepalive} s")
            return None
        return 0

    def _publish(self, client: Client, command: int, body: bytes, *, five: bool) -> None:
        before = len(self.published)
        super()._publish(client, command, body, five=five)
        if len(self.published) > before and not self.published[-1].qos:
            self._accept(client, self.published[-1])

    def _take(self, client: Client, published: Published) -> bytes | None:
        count = self._in_flight[id(client)] = self._in_flight.get(id(client), 0) + 1
        self.widest = max(self.widest, count)
        if count > 100:
            self.problems.append("more than 100 in flight")
        code = self._accept(client, published)
        if code is None:
            return None
        answer = acknowledge(client, published, code if client.connect.version == 5 else 0)
        if not self.delay:
            self._in_flight[id(client)] -= 1
            return answer
        asyncio.get_running_loop().call_later(self.delay, self._answer, client, answer)
        return None

    def _answer(self, client: Client, answer: bytes) -> None:
        self._in_flight[id(client)] -= 1
        client.send(answer)

    def _accept(self, client: Client, published: Published) -> int | None:
        self.requests += 1
        topic = _BASIC_INGEST.sub("", published.topic, count=1)
        now = asyncio.get_running_loop().time()
        times = self._times.setdefault(id(client), deque())
        times.append(now)
        while times[0] <= now - 1:
            times.popleft()
        wrong = (
            "QoS 2" if published.qos == 2
            else f"{len(published.payload)} bytes" if len(published.payload) > _LARGEST
            else f"topic {topic[:80]!r}" if len(topic.encode()) > 256 or topic.count("/") > 7 or topic.startswith("$")
            else f"{len(times)} publishes in a second" if len(times) > 100
            else "8 KiB of user properties" if _user_bytes(published.properties) > 8192
            else ""
        )  # fmt: skip
        if wrong:
            self.problems.append(wrong)
            client.writer.close()
            return None
        code = self.on_publish(client, published)
        if code == 0:
            self.messages.append(published)
        return code


def user_properties(properties: bytes) -> dict[str, str]:
    """Return the user properties of a publish."""
    if not properties:
        return {}
    data = struct.pack("!B", len(properties)) + properties if len(properties) < 128 else _long(properties)
    found, *_ = parse_properties(data, 0, len(data), PacketLimits())
    return dict(found.user) if found is not None else {}


def _long(properties: bytes) -> bytes:
    length = len(properties)
    return bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14)) + properties


def _user_bytes(properties: bytes) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in user_properties(properties).items())


def check_signature(request: web.Request, access_key: str, secret_key: str, token: str | None) -> web.Response | None:
    """Verify the Signature Version 4 of a request for a WebSocket, as the service does: the token is not signed."""
    pairs = [pair.partition("=") for pair in request.rel_url.raw_query_string.split("&")]
    given = {name: unquote(value) for name, _, value in pairs}
    signed = "&".join(
        f"{name}={quote(given[name], safe='')}" for name in sorted(given) if name not in {"X-Amz-Signature", "X-Amz-Security-Token"}
    )
    key_id, day, region, service, _ = given["X-Amz-Credential"].split("/")
    canonical = f"GET\n/mqtt\n{signed}\nhost:{request.headers['Host']}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{given['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    good = hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == given["X-Amz-Signature"]
    good &= (key_id, service, region) == (access_key, "iotdevicegateway", "eu-west-1") and given.get(
        "X-Amz-Security-Token"
    ) == token
    return None if good else web.Response(status=403)


class IotCoreServer(SinkServer):
    """The service in the role that the conformance suite expects, with faults.

    Args:
        core: the message broker.
        tls: certificate of the endpoint, and the authority of the devices.
        sign: verifies a request for a WebSocket.
    """

    def __init__(self, core: IotCore, tls: ssl.SSLContext, sign: Callable[[web.Request], web.Response | None]) -> None:
        self.core = core
        self._tls = tls
        self._sign = sign
        self._stack = AsyncExitStack()
        self._servers: list[asyncio.Server] = []
        self.bridge: Bridge | None = None
        tls.sni_callback = lambda _, name, __: core.server_names.append(name)

    @asynccontextmanager
    async def running(self, web_tls: ssl.SSLContext) -> AsyncIterator[Self]:
        """Listen on two ports for devices, the second one with ALPN, and for WebSockets."""
        async with self._stack:
            for tls in (self._tls, self._tls, None):
                server = await asyncio.start_server(self.core.take, "127.0.0.1", 0, ssl=tls, limit=2**20)
                self._servers.append(server)
            self.core.needs_alpn = {self.port(1)}
            self.bridge = await self._stack.enter_async_context(bridging(self.port(2), "/mqtt", tls=web_tls, admit=self._sign))
            try:
                yield self
            finally:
                await self.stop()

    def port(self, number: int = 0) -> int:
        """Return a port: 0 as 8883, 1 as 443 with ALPN."""
        port: int = self._servers[number].sockets[0].getsockname()[1]
        return port

    async def received(self) -> Sequence[Received]:
        return [
            Received(each.payload, each.topic, user_properties(each.properties).get("edgerouter-id")) for each in self.core.messages
        ]

    async def requests(self) -> int:
        return self.core.requests

    async def connections(self) -> int:
        return len(self.core.open)

    async def fail(self) -> None:
        self.core.on_publish = lambda _client, _published: _FAILED

    async def throttle(self, _: float) -> None:
        self.core.on_publish = lambda _client, _published: _QUOTA

    async def refuse(self) -> None:
        self.core.refusing = True
        await self._close_all()

    async def reject(self, marker: bytes) -> None:
        self.core.on_publish = lambda _client, published: _FORMAT if marker in published.payload else 0

    async def fail_once(self, marker: bytes) -> None:
        seen: set[bytes] = set()

        def answer(_: Client, published: Published) -> int:
            if marker not in published.payload or published.payload in seen:
                return 0
            seen.add(published.payload)
            return _FAILED

        self.core.on_publish = answer

    async def stall(self) -> None:
        def keep(_: Client, published: Published) -> None:
            self.core.messages.append(published)

        self.core.on_publish = keep

    async def lose_next_response(self) -> None:
        def keep(client: Client, published: Published) -> None:
            self.core.messages.append(published)
            self._cut(client)

        self.core.on_publish = keep

    async def cut_next(self) -> None:
        self.core.on_publish = lambda client, _: self._cut(client)

    async def heal(self) -> None:
        self.core.refusing = False
        self.core.on_publish = lambda _client, _published: 0

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        await self._close_all()

    def _cut(self, client: Client) -> None:
        self.core.on_publish = lambda _client, _published: 0
        client.writer.transport.abort()

    async def _close_all(self) -> None:
        for writer in self.core.open:
            writer.transport.abort()
        while self.core.open:
            await asyncio.sleep(0.005)
