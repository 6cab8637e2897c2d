"""Callers of the admin server, and their rights: by the Unix socket's permissions, by the address, or by a bearer token."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from edgerouter.config.admin import AdminConfig, AdminToken
from edgerouter.errors import ConfigurationError
from edgerouter.http_server.problems import Problem
from edgerouter.http_server.tokens import TokenOwners, bearer_token, check_token
from edgerouter.masking import protect

log = structlog.get_logger("edgerouter.admin")

Need = Literal["nothing", "health", "metrics", "read", "payloads", "change", "owner"]
"""Right that an endpoint asks for: `nothing` for files of the dashboard, which hold no data; `payloads` for those of any message,
which a caller without a token does not see on loopback either; `owner` for the Unix socket alone."""

LOOK_SECONDS = 5.0
"""Between two looks at the files of tokens."""
_MOST_FILE_BYTES: Final = 64 * 1024
_LOG_SECONDS: Final = 60.0
"""Between two log lines about refused callers."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that was let in."""

    name: str
    """For the log: `token NAME`, `uid N`, or `loopback`."""
    is_owner: bool = False
    """True for the Unix socket."""


class Door(Protocol):
    """Decides about the callers of one listener."""

    async def admit(self, request: web.BaseRequest, need: Need) -> Caller:
        """Return the caller.

        Raises:
            Problem: it lacks the right.
        """


class UnixDoor:
    """Admits every caller: the kernel lets only the owner of the socket and root connect."""

    async def admit(self, request: web.BaseRequest, need: Need) -> Caller:  # noqa: ARG002
        return Caller(_peer(request), is_owner=True)


class TcpDoor:
    """Admits callers by address and token.

    Args:
        config: of the admin server.
        local: true for an address that only this machine reaches.

    Raises:
        ConfigurationError: a file of tokens cannot be used.
    """

    def __init__(self, config: AdminConfig, *, local: bool) -> None:
        self._local = local
        self._read_only = config.read_only
        self._open = {"nothing", *config.open} | ({"health", "metrics", "read"} if local else set())
        self._tokens = Tokens(config.tokens)
        self._refused = 0
        self._logged = float("-inf")

    async def admit(self, request: web.BaseRequest, need: Need) -> Caller:
        refuse_other_origins(request, page=need == "nothing")
        if need in self._open and bearer_token(request) is None:
            return Caller("loopback" if self._local else "network")
        if need == "owner":
            raise Problem(403, "this is served on the Unix socket alone: use the commands of edgerouter on the machine")
        if need == "change" and self._read_only:
            raise Problem(403, "`admin.read_only` is set: changes are made over the Unix socket, with the commands of edgerouter")
        found = await self._tokens.owner(request)
        if found is None:
            raise self._unknown(request)
        name, token = found
        if need == "change" and token.read_only:
            raise Problem(403, f"the token {name!r} is read-only: use one without `read_only` in `admin.tokens`")
        return Caller(f"token {name}")

    def _unknown(self, request: web.BaseRequest) -> Problem:
        self._refused += 1
        now = time.monotonic()
        if bearer_token(request) is not None and now - self._logged >= _LOG_SECONDS:
            log.warning("callers without a valid token were refused", requests=self._refused, last=request.remote)
            self._logged, self._refused = now, 0
        if not self._tokens.configured:
            text = (
                "this needs a token, and none is configured: set `admin.tokens`, or use the commands of edgerouter on the machine"
            )
            return Problem(403, text)
        text = "send a valid token of `admin.tokens` in the header Authorization: Bearer TOKEN"
        return Problem(401, text, headers={"WWW-Authenticate": 'Bearer realm="edgerouter"'})


class Tokens:
    """Tokens by name; those in files are read again when the files change.

    Args:
        tokens: as configured.

    Raises:
        ConfigurationError: a file cannot be used.
    """

    def __init__(self, tokens: dict[str, AdminToken]) -> None:
        self.configured = bool(tokens)
        self._tokens = tokens
        self._files = [token.token_file for token in tokens.values() if token.token_file is not None]
        self._seen = self._state()
        self._owners = self._read()
        self._looked = time.monotonic()

    async def owner(self, request: web.BaseRequest) -> tuple[str, AdminToken] | None:
        """Return name and rights of the token that a request carries."""
        now = time.monotonic()
        if self._files and now - self._looked >= LOOK_SECONDS and bearer_token(request) is not None:
            self._looked = now
            await asyncio.to_thread(self._renew)
        return self._owners.owner(request)

    def _renew(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._owners = self._read()
        except ConfigurationError as error:
            log.warning("changed tokens are not usable: the ones before stay valid", reason=str(error))
        else:
            log.info("tokens have changed, and are in use")

    def _read(self) -> TokenOwners[tuple[str, AdminToken]]:
        return TokenOwners((text, (name, token)) for name, token in self._tokens.items() for text in _texts(name, token))

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(file) for file in self._files]


def _texts(name: str, token: AdminToken) -> Iterable[str]:
    if token.token is not None:
        return [token.token.get_secret_value()]
    file = token.token_file
    assert file is not None, "one of both is there"
    field = f"admin.tokens.{name}.token_file"
    try:
        with file.open("rb") as opened:
            lines = opened.read(_MOST_FILE_BYTES).decode("ascii").split("\n")
        texts = [check_token(line.strip()) for line in lines if line.strip()]
    except OSError as error:
        raise ConfigurationError(f"{field}: {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{field}: {file}: a token consists of letters, digits and signs of ASCII") from None
    except ValueError as error:
        raise ConfigurationError(f"{field}: {file}: {str(error).replace('`token`', 'each line')}") from None
    if not texts:
        raise ConfigurationError(f"{field}: {file}: holds no token; `openssl rand -hex 24` makes one")
    protect(*texts)
    return texts


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def refuse_other_origins(request: web.BaseRequest, *, page: bool) -> None:
    """Refuse requests that a page of another origin makes: it could not read the answer, but could change something, or measure.

    Args:
        request: any.
        page: true for files of the dashboard, which a link on another page may lead to.

    Raises:
        Problem: 403.
    """
    headers = request.headers
    origin = headers.get("Origin")
    site = headers.get("Sec-Fetch-Site", "none")
    is_link = page and request.method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate"
    foreign = origin is not None and urlsplit_netloc(origin) != request.host.lower()
    if foreign or (site not in ("none", "same-origin") and not is_link):
        raise Problem(403, "pages of other origins are refused: use the dashboard of this address, or a program")


def urlsplit_netloc(origin: str) -> str:
    """Return host and port of an origin; empty for one that has none, such as `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _peer(request: web.BaseRequest) -> str:
    """Return the user at the other end of a Unix socket."""
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None or not hasattr(socket, "SO_PEERCRED"):
        return "unix"
    with socket.socket(fileno=socket.dup(connection.fileno())) as own:
        _, uid, _ = struct.unpack("3i", own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return f"uid {uid}"
