"""A strict IoT Hub over MQTT: it closes the connection for whatever the documentation of the service does not allow.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote

from edgerouter.testing import Received, SinkServer
from support.mqtt_packets import Connect, publish
from support.strict_broker import Client, Published, StrictBroker, acknowledge

HOST, DEVICE = "plant.azure-devices.net", "edge-7"
KEY = base64.b64encode(b"the key of the device under test").decode()
_LARGEST = 256 * 1024
_LONGEST_KEEP_ALIVE = 1177
_SYSTEM = {"$.mid", "$.cid", "$.uid", "$.ct", "$.ce", "$.on", "$.ctime", "$.exp"}
_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")
_writer: ContextVar[asyncio.StreamWriter] = ContextVar("writer")


class IotHub(StrictBroker):
    """A hub with one device.

    Args:
        x509: the device has a certificate with its id as common name, and no key.
    """

    def __init__(self, *, x509: bool = False) -> None:
        super().__init__()
        self.x509 = x509
        self.certificate: dict[str, Any] = {}
        """Certificate of the device, where a bridge before the hub ends its TLS."""
        self.problems: list[str] = []
        """Violations of the service's rules."""
        self.messages: list[tuple[dict[str, str], bytes]] = []
        """Accepted device-to-cloud messages: properties and body."""
        self.requests = 0
        self.expired = 0
        """Connections that the hub ended because their token did."""
        self.refusing = False
        self.on_publish: Callable[[Client, Published], bool] = lambda _client, _published: True
        """Decides for each publish that keeps the rules whether the hub takes and answers it."""
        self.admit = self._check_connect
        self.puback = self._take
        self.subscribe_codes = self._check_subscribe
        self._ends: dict[asyncio.StreamWriter, float] = {}
        self.open: list[asyncio.StreamWriter] = []

    def connection_string(self, key: str = KEY) -> str:
        """Return it as the portal shows it."""
        return f"HostName={HOST};DeviceId={DEVICE};" + ("x509=true" if self.x509 else f"SharedAccessKey={key}")

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _writer.set(writer)
        self.open.append(writer)
        try:
            await super().take(reader, writer)
        finally:
            self.open.remove(writer)

    def send(self, payload: bytes, bag: str, identifier: int = 1) -> None:
        """Send a cloud-to-device message on the newest connection."""
        self.clients[-1].send(publish(f"devices/{DEVICE}/messages/devicebound/{bag}", payload, 1, identifier))

    def _check_connect(self, connect: Connect) -> int | None:
        writer = _writer.get()
        if self.refusing:
            return 5
        if connect.version != 4:
            return self._problem(f"version {connect.version} of MQTT", 1)
        if connect.client_id != DEVICE:
            return self._problem(f"client id {connect.client_id!r}", 2)
        if not re.fullmatch(rf"{re.escape(HOST)}/{DEVICE}/\?api-version=20\d\d-\d\d-\d\d.*", connect.username or ""):
            return self._problem(f"user name {connect.username!r}", 4)
        if not 0 < connect.keepalive <= _LONGEST_KEEP_ALIVE:
            return self._problem(f"keep alive of {connect.keepalive} s", None)
        ends = self._authenticate(writer, connect.password)
        if ends is None:
            return 5
        for other in self.open:
            if other is not writer:
                other.close()  # a device has one connection
        if ends:
            asyncio.get_running_loop().call_later(ends - time.time(), self._expire, writer)
        return 0

    def _authenticate(self, writer: asyncio.StreamWriter, password: str | None) -> float | None:
        """Return the end of the token, 0 for X.509, `None` where the device is not let in."""
        if self.x509:
            certificate = writer.get_extra_info("peercert") or self.certificate
            names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
            return 0.0 if names == [DEVICE] and not password else None
        token = parse_qs((password or "").removeprefix("SharedAccessSignature "))
        resource, ends = f"{HOST}/devices/{DEVICE}", token.get("se", ["0"])[0]
        if token.get("sr") != [resource]:
            return None
        signed = hmac.digest(base64.b64decode(KEY), f"{quote(resource, safe='')}\n{ends}".encode(), hashlib.sha256)
        if token.get("sig") != [base64.b64encode(signed).decode()] or float(ends) <= time.time():
            return None
        return float(ends)

    def _expire(self, writer: asyncio.StreamWriter) -> None:
        if writer in self.open:
            self.expired += 1
            writer.close()

    def _problem(self, what: str, code: int | None) -> int | None:
        self.problems.append(what)
        return code

    def _take(self, client: Client, published: Published) -> bytes | None:
        if self._accept(client, published):
            return acknowledge(client, published)
        return None

    def _publish(self, client: Client, command: int, body: bytes, *, five: bool) -> None:
        before = len(self.published)
        super()._publish(client, command, body, five=five)
        if len(self.published) > before and not self.published[-1].qos:
            self._accept(client, self.published[-1])

    def _accept(self, client: Client, published: Published) -> bool:
        start = f"devices/{DEVICE}/messages/events/"
        if published.topic.startswith("$iothub/methods/res/"):
            return True
        self.requests += 1
        bag = self._bag(published.topic.removeprefix(start))
        size = len(published.payload) + sum(len(name) + len(value) for name, value in bag.items())
        wrong = (
            ("topic " + published.topic[:80]) if not published.topic.startswith(start)
            else "QoS 2" if published.qos == 2
            else "retain" if published.retain
            else f"{size} bytes" if size > _LARGEST
            else ""
        )  # fmt: skip
        if wrong:
            self.problems.append(wrong)
            client.writer.close()
            return False
        if not self.on_publish(client, published):
            return False
        self.messages.append((bag, published.payload))
        return True

    def _bag(self, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            name = unquote(name)
            if not equals or not name or name in found or (name.startswith("$") and name not in _SYSTEM):
                self.problems.append(f"property {pair[:80]!r}")
            found[name] = unquote(value)
        if "$.mid" in found and not _ID.fullmatch(found["$.mid"]):
            self.problems.append(f"message id {found['$.mid']!r}")
        return found

    def _check_subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        allowed = {f"devices/{DEVICE}/messages/devicebound/#", "$iothub/methods/POST/#"}
        self.problems += [f"filter {name}" for name, _ in filters if name not in allowed]
        return [min(qos, 1) if name in allowed else 0x80 for name, qos in filters]


class IotHubServer(SinkServer):
    """The hub in the role that the conformance suite expects, with faults."""

    def __init__(self, hub: IotHub, tls: ssl.SSLContext) -> None:
        self.hub = hub
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        """Place to connect to instead of the hub's host."""
        return f"localhost:{self.hub.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen until the context exits."""
        self._server = await asyncio.start_server(self.hub.take, "127.0.0.1", 0, ssl=self._tls, limit=2**20)
        self.hub.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await self.stop()

    async def received(self) -> Sequence[Received]:
        return [Received(body, bag.get("topic"), bag.get("$.mid")) for bag, body in self.hub.messages]

    async def requests(self) -> int:
        return self.hub.requests

    async def connections(self) -> int:
        return len(self.hub.open)

    async def fail(self) -> None:
        self.hub.on_publish = self._reset

    async def throttle(self, _: float) -> None:
        def hang_up(client: Client, _: Published) -> bool:
            client.writer.close()
            return False

        self.hub.on_publish = hang_up

    async def refuse(self) -> None:
        self.hub.refusing = True
        for writer in self.hub.open:
            writer.close()
        while self.hub.open:
            await asyncio.sleep(0.005)

    async def stall(self) -> None:
        self.hub.on_publish = self._keep

    async def lose_next_response(self) -> None:
        self.hub.on_publish = self._keep_and_reset

    async def cut_next(self) -> None:
        def cut(client: Client, published: Published) -> bool:
            self.hub.on_publish = lambda _client, _published: True
            return self._reset(client, published)

        self.hub.on_publish = cut

    async def heal(self) -> None:
        self.hub.refusing = False
        self.hub.on_publish = lambda _client, _published: True

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self.hub.open:
            writer.transport.abort()
        while self.hub.open:
            await asyncio.sleep(0.005)

    def _reset(self, client: Client, _: Published) -> bool:
        client.writer.transport.abort()
        return False

    def _keep(self, _: Client, published: Published) -> bool:
        bag = self.hub._bag(published.topic.partition("/events/")[2])
        self.hub.messages.append((bag, published.payload))
        return False

    def _keep_and_reset(self, client: Client, published: Published) -> bool:
        self.hub.on_publish = lambda _client, _published: True
        self._keep(client, published)
        client.writer.transport.abort()
        return False
