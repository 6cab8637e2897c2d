"""The source `cloudsync`: serves CloudSync's REST API; what is published goes through the spool."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from edgerouter import ByteSize, Delivery, Duration, Message, Properties, Source, SourceConfig, SourceContext
from edgerouter.http_server.serving import ServerTlsConfig, Serving, serve
from edgerouter.receiving import Inbox
from edgerouter_cloudsync.api.access import Access
from edgerouter_cloudsync.api.answers import Answer, kept, not_published, not_stored, published
from edgerouter_cloudsync.api.calls import Calls
from edgerouter_cloudsync.api.handler import Api
from edgerouter_cloudsync.api.tokens import Tokens, TokensConfig, Verifier
from edgerouter_cloudsync.brokers import BrokersConfig
from edgerouter_cloudsync.names import APP, REQUEST, routed
from edgerouter_cloudsync.progress import Delivered, Refused, Waits, Word, progress_of
from edgerouter_cloudsync.subscriptions.book import Book

_MOST_HELD: Final = 10_000
"""Messages that wait to be stored."""
_MOST_HELD_BYTES: Final = 16 * 1024**2


def _network(text: str) -> str:
    ip_network(text)
    return text


class CloudSyncSourceConfig(BrokersConfig, SourceConfig):
    """Serves CloudSync's REST API. A sink of type `cloudsync` publishes what is posted here."""

    listen: str = Field(
        default="127.0.0.1:56001", pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+):\d{1,5}$", examples=["0.0.0.0:56001"]
    )
    """Address to listen on. Callers on other machines are refused unless `allow` names them."""
    allow: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(default=(), examples=[["192.168.10.0/24"]])
    """Networks of callers beside this machine, such as `172.17.0.0/16`. They may name only brokers that `brokers` lists."""
    tokens: Tokens = None
    """Check the token of each caller; on with `secure` unless `false`. `true` stands for CloudSync's key files."""
    tls_cert: Path | None = Field(default=None, examples=["/etc/edgerouter/server.pem"])
    """PEM file of the certificate for HTTPS, with its chain; CloudSync served plain HTTP."""
    tls_key: Path | None = Field(default=None, examples=["/etc/edgerouter/server.key"])
    """PEM file of its private key, if `tls_cert` does not hold it."""
    legacy_status: bool = False
    """Answer with CloudSync's statuses: 200 for nearly everything, and no body where it sent none."""
    active: bool = True
    """With `false` every call is answered that CloudSync is not active."""
    answer_within: Duration = Field(default=2.0, gt=0, le=60)
    """Longest time that the answer to `publish` waits for the broker; then it says that the data are stored."""
    max_body_bytes: ByteSize = Field(default=256 * 1024, ge=1024, le=16 * 1024**2)
    """Bytes of the largest request."""
    max_requests_per_second: float = Field(default=1000.0, gt=0)
    """Requests a second of all callers together; beyond it the answer is 429."""
    max_connections: int = Field(default=512, ge=1, le=10_000)
    """Most connections of callers."""
    max_subscriptions: int = Field(default=1000, ge=1, le=100_000)
    """Most subscriptions of all applications."""
    max_values_bytes: ByteSize = Field(default=8 * 1024**2, ge=1024)
    """Most bytes of latest values; beyond it the oldest are forgotten."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("`tls_key` needs `tls_cert`")
        self.server_tls()
        if self.allow and self.brokers is None:
            raise ValueError("`allow` needs `brokers`: callers on other machines may name listed brokers only")
        return self

    def server_tls(self) -> ServerTlsConfig | None:
        """Return the certificate for HTTPS; raises `ValueError`."""
        if self.tls_cert is None:
            return None
        try:
            return ServerTlsConfig(cert=self.tls_cert, key=self.tls_key)
        except ValidationError as error:
            raise ValueError(f"`tls_cert`, `tls_key`: {error.errors()[0]['msg']}") from None

    @property
    def checked_tokens(self) -> TokensConfig | None:
        """Tokens to check."""
        if self.tokens is None and self.secure and "tokens" not in self.model_fields_set:
            return TokensConfig()
        return self.tokens


class CloudSyncSource(Source[CloudSyncSourceConfig]):
    """Takes what is published into the spool, and answers once the sink has delivered it."""

    def __init__(self, config: CloudSyncSourceConfig, context: SourceContext, book: Book) -> None:
        self.book = book
        """The subscriptions."""
        self._config = config
        self._context = context
        self._progress = progress_of(context.spool)
        self._inbox: Inbox[str] = Inbox(_MOST_HELD, _MOST_HELD_BYTES, acknowledged=self._acknowledged, flush_now=context.flush_now)
        self._numbers = count(1)
        self._run = secrets.token_hex(4)
        self._storing: dict[str, asyncio.Future[None]] = {}
        """Done once the request is in the spool; by the request, until it is answered."""
        self._server: Serving | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: CloudSyncSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        # the port and the subscriptions are a running router's
        folder = None if context.probe else context.state
        name = f"edgerouter-{(context.identity or context.spool)[:12]}-{context.name}"
        kept = Book.open(folder, config.settings_of, name, most_bytes=config.max_values_bytes, largest=config.max_body_bytes)
        async with kept as book:
            source = cls(config, context, book)
            if context.probe:
                context.connected(True, "")
                yield source
                return
            tokens = config.checked_tokens
            verifier = await asyncio.to_thread(Verifier, tokens) if tokens is not None else None
            api = source._api(verifier)
            tls = await asyncio.to_thread(config.server_tls)
            async with serve(api.handle, config.listen, most=config.max_connections, tls=tls) as source._server:
                context.connected(True, "")
                yield source

    @property
    def port(self) -> int:
        """Port listened on; 0 where it does not listen."""
        return self._server.port if self._server is not None else 0

    @property
    def connections(self) -> int:
        """Connections of callers."""
        return self._server.connections if self._server is not None else 0

    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in self._inbox.deliveries():
            yield delivery

    def stop(self) -> None:
        self._inbox.stop()

    def _api(self, verifier: Verifier | None) -> Api:
        config = self._config
        access = Access([ip_network(each) for each in config.allow], config.max_requests_per_second, time.monotonic)
        return Api(
            Calls(self._publish, self.book, self._is_allowed, config.max_subscriptions),
            access,
            verifier,
            self._health,
            active=config.active,
            legacy=config.legacy_status,
            most_body_bytes=config.max_body_bytes,
        )

    def _is_allowed(self, broker: str) -> bool:
        return self._config.settings_of(broker) is not None

    async def _publish(self, appid: str, url: str, topic: str, payload: bytes) -> Answer:
        shown = self._config.shown(url)
        destination = routed(url, topic)
        size = len(payload) + len(destination.encode())
        if reason := self._no_room(url, size):
            return not_stored(reason)
        request = f"{self._run}-{next(self._numbers)}"
        down = self._progress.share(url).down
        word = self._progress.accept(request, url, size)
        stored = self._take(request, destination, payload, appid)
        said: Word = Waits(down or "the broker has not answered yet")
        try:
            async with asyncio.timeout(self._config.answer_within):
                await stored
                # a broker that is known to be down is not waited for
                said = said if down else await word
        except TimeoutError:
            pass
        finally:
            self._progress.forget(request)
            self._storing.pop(request, None)
        return _answer(said, shown, stored=stored.done() and not stored.cancelled())

    def _no_room(self, url: str, size: int) -> str:
        if self._inbox.stopped:
            return "the router stops"
        if self._inbox.messages >= _MOST_HELD or self._inbox.bytes + size > _MOST_HELD_BYTES:
            return "the spool takes nothing now"
        return "" if self._progress.has_room(url, size) else f"too much waits for {url}"

    def _take(self, request: str, topic: str, payload: bytes, appid: str) -> asyncio.Future[None]:
        properties = Properties(user=((REQUEST, request), (APP, appid)), payload_is_text=True)
        message = Message(topic, payload, time.time_ns(), qos=1, properties=properties)
        stored = self._storing[request] = asyncio.get_running_loop().create_future()
        self._inbox.put([message], [request])
        if len(self._storing) >= self.connections:
            self._context.flush_now()  # every caller waits for its answer, and sends nothing before
        return stored

    def _acknowledged(self, requests: Sequence[str]) -> None:
        for request in requests:
            stored = self._storing.get(request)
            if stored is not None and not stored.done():
                stored.set_result(None)

    def _health(self) -> Answer:
        subscribed = self.book.reasons
        shares = self._progress.shares
        brokers = [
            {
                "url": url,
                "waiting": len(shares[url].waiting) if url in shares else 0,
                "reason": (shares[url].down if url in shares else "") or subscribed.get(url, ""),
                "subscribed": url in subscribed,
            }
            for url in sorted({*shares, *subscribed})
        ]
        return Answer(200, "", {"Brokers": brokers})


def _answer(said: Word, shown: str, *, stored: bool) -> Answer:
    if isinstance(said, Delivered):
        return published(shown)
    if isinstance(said, Refused):
        return not_published(said.reason)
    return kept(shown, said.reason) if stored else not_stored("the spool takes nothing now; it may still be published")
