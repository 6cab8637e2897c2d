"""Connections to NATS: made once for all that share one, bounded in time, and made anew by the next call after a loss."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from nats.aio.client import RawCredentials
from nats.errors import ConnectionClosedError, Error
from nats.js import JetStreamContext

from edgerouter import Unauthorized, Unavailable
from edgerouter.tls import TlsConfig, make_context
from edgerouter_nats.client import BoundedClient
from edgerouter_nats.errors import not_connected, said
from edgerouter_nats.settings import NatsSettings

T = TypeVar("T")

_CLOSING_SECONDS: Final = 2.0
_MOST_CREDS_BYTES: Final = 64 * 1024


class Connection:
    """One connection. Never reconnects: once `lost` is done, nothing works over it any more.

    Args:
        client: connected.
        settings: its configuration.
        server: address of the server, without credentials.
    """

    def __init__(self, client: BoundedClient, settings: NatsSettings, server: str) -> None:
        self.client = client
        self.server = server
        self._settings = settings

    @property
    def lost(self) -> bool:
        """True once the connection is gone."""
        return self.client.lost.done() or not self.client.is_connected

    @property
    def error(self) -> Unavailable:
        """Return the error of a lost connection."""
        reason = self.client.lost.result() if self.client.lost.done() else "the connection was lost"
        return said(reason, self.server)

    @property
    def max_payload(self) -> int:
        """Most bytes of a message with its headers, as the server says."""
        return self.client.max_payload

    def jetstream(self, timeout: float = 10.0) -> JetStreamContext:
        """Return nats-py's JetStream context, in the configured domain."""
        return JetStreamContext(self.client, domain=self._settings.domain, timeout=timeout)

    async def outcome(self, answer: Awaitable[T], seconds: float) -> T:
        """Wait for an answer, but not for longer than the connection lasts.

        Raises:
            Unavailable: the connection was lost, or the time is over.
        """
        task = asyncio.ensure_future(answer)
        try:
            await asyncio.wait((task, self.client.lost), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self.error if self.lost else Unavailable(f"{self.server}: no answer within {seconds:g} s")
            return task.result()
        except ConnectionClosedError:
            raise self.error from None
        finally:
            task.cancel()

    async def flush(self, seconds: float) -> None:
        """Return once the server has processed everything that was sent before.

        Raises:
            Unavailable: the connection was lost, or the time is over.
        """
        await self.outcome(self.client.flush(int(seconds) + 1), seconds)

    async def close(self) -> None:
        """Close the connection; returns in any case after a short time."""
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self.client.close()
        except (TimeoutError, OSError, Error):
            pass
        finally:
            await self.client.discard()


async def connect(settings: NatsSettings, name: str, *, echo: bool = True) -> Connection:
    """Connect to one of the servers.

    Args:
        settings: the configuration.
        name: name of the connection, shown in the server's monitoring.
        echo: false to be sent nothing that was published over the same connection.

    Raises:
        Unauthorized: a server was reached, and does not let us in; or the credentials cannot be used.
        Unavailable: no server was reached.
    """
    options = await asyncio.to_thread(_options, settings)
    errors: list[Unavailable] = []
    for server in random.sample(settings.servers, len(settings.servers)):
        try:
            return await _connect_to(server, settings, {**options, "name": name, "no_echo": not echo})
        except Unavailable as error:
            errors.append(error)
    # what an operator must mend is said rather than which server is down
    raise next((error for error in errors if isinstance(error, Unauthorized)), errors[-1])


async def _connect_to(server: str, settings: NatsSettings, options: dict[str, Any]) -> Connection:
    client = BoundedClient(most_bytes=settings.max_message_bytes, wants_tls=settings.wants_tls)
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await client.connect(
                servers=[server],
                allow_reconnect=False,
                error_cb=client.failed,
                closed_cb=client.gone,
                **options,
            )
        client.established()
    except BaseException as error:
        await client.discard()
        if isinstance(error, Unavailable) or not isinstance(error, Exception):
            raise
        raise not_connected(error, server) from None
    return Connection(client, settings, server.partition("://")[2])


def _options(settings: NatsSettings) -> dict[str, Any]:
    """Return the arguments of nats-py's `connect`. Reads files: not for the event loop."""
    try:
        tls = make_context(settings.tls or TlsConfig())
    except ValueError as error:
        raise Unauthorized(str(error)) from None
    return {
        "tls": tls,
        "tls_handshake_first": settings.tls_handshake_first,
        "inbox_prefix": settings.inbox_prefix,
        "connect_timeout": settings.connect_timeout,
        "ping_interval": settings.ping_interval,
        **_credentials(settings),
    }


def _credentials(settings: NatsSettings) -> dict[str, Any]:
    if settings.creds_file is not None:
        try:
            text = settings.creds_file.read_bytes()[:_MOST_CREDS_BYTES].decode()
        except (OSError, ValueError) as error:
            raise Unauthorized(f"{settings.creds_file}: {getattr(error, 'strerror', None) or 'not a text'}") from None
        # nats-py searches for ever where these are missing
        if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
            raise Unauthorized(f"{settings.creds_file}: no credentials file: it holds no user's JWT and seed")
        return {"user_credentials": RawCredentials(text)}
    if settings.nkey_seed is not None:
        return {"nkeys_seed_str": settings.nkey_seed.get_secret_value()}
    if settings.token is not None:
        return {"token": settings.token.get_secret_value()}
    if settings.username is not None and settings.password is not None:
        return {"user": settings.username, "password": settings.password.get_secret_value()}
    return {}


class Connector:
    """Hands out the connection that is open, or makes a new one: for what outlives a connection.

    Args:
        settings: the configuration.
        name: name of the connections.
        echo: see `connect`.
    """

    def __init__(self, settings: NatsSettings, name: str, *, echo: bool = True) -> None:
        self._settings = settings
        self._name = name
        self._echo = echo
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @property
    def max_message_bytes(self) -> int:
        """Longest message that is accepted from a server."""
        return self._settings.max_message_bytes

    def inbox(self) -> str:
        """Return a subject for answers that no other uses, below the configured prefix."""
        return f"{self._settings.inbox_prefix}.{secrets.token_hex(8)}"

    async def connection(self) -> Connection:
        """Return a connection that is not lost.

        Raises:
            Unavailable: none can be made; see `connect`.
        """
        if self._connection is not None and not self._connection.lost:
            return self._connection
        async with self._lock:
            if self._connection is None or self._connection.lost:
                await self.close()
                self._connection = await connect(self._settings, self._name, echo=self._echo)
            return self._connection

    async def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


@asynccontextmanager
async def connecting(settings: NatsSettings, name: str, *, echo: bool = True) -> AsyncIterator[Connector]:
    """Have a connector, and close its connection on exit. Sends nothing."""
    connector = Connector(settings, name, echo=echo)
    try:
        yield connector
    finally:
        await connector.close()
