"""Secret stores that show secrets, return old ones, or raise what the router does not know."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self, cast

from pydantic import SecretStr

from edgerouter import SecretMissing, SecretStore, SecretStoreConfig, SecretStoreContext, Unavailable
from support.wrong.catalogue import wrong

SHOWN = ("secret store", "test_no_secret_is_logged_printed_or_in_an_error", "a secret stands in a log, in output, in an error")
GOT = ("secret store", "test_a_secret_is_got_by_its_name")
MISSING = ("secret store", "test_a_secret_that_is_not_there_is_missing", "is SecretMissing")


class VaultConfig(SecretStoreConfig):
    """A vault of this process."""

    token: SecretStr = SecretStr("hush-hush")
    """A secret."""


class Vault(SecretStore[VaultConfig]):
    """An honest store."""

    secrets: ClassVar[dict[str, str]] = {}

    def __init__(self, config: VaultConfig) -> None:
        self.config = config

    @classmethod
    @asynccontextmanager
    async def open(cls, config: VaultConfig, context: SecretStoreContext) -> AsyncIterator[Self]:
        yield cls(config)

    async def get(self, name: str) -> str:
        await asyncio.sleep(0)
        if name not in self.secrets:
            raise SecretMissing(f"no {name}")
        return self.secrets[name]


@wrong("secret store", "test_the_event_loop_is_never_held_up", "held the event loop")
class SlowVault(Vault):
    """Blocks in `get`."""

    async def get(self, name: str) -> str:
        time.sleep(0.2)  # noqa: ASYNC251  (the fault)
        return await super().get(name)


@wrong(*MISSING)
class VagueVault(Vault):
    """Calls a secret unavailable that is not there."""

    async def get(self, name: str) -> str:
        try:
            return await super().get(name)
        except SecretMissing as error:
            raise Unavailable(str(error)) from error


@wrong(*MISSING)
class RawVault(Vault):
    """Raises KeyError for a secret that is not there."""

    async def get(self, name: str) -> str:
        return self.secrets[name]


@wrong(*MISSING)
class EmptyVault(Vault):
    """Returns an empty text for a secret that is not there."""

    async def get(self, name: str) -> str:
        return self.secrets.get(name, "")


@wrong("secret store", "test_strange_names_are_missing_and_read_nothing_else", "refuse `..` and `/`")
class Climbing(Vault):
    """Reads any file that a name leads to."""

    async def get(self, name: str) -> str:
        if name in self.secrets:
            return self.secrets[name]
        file = Path("/var/lib/secrets") / name
        return Path("/etc/hostname").read_text() if ".." in file.parts else await super().get(name)


@wrong("secret store", "test_a_rotated_secret_is_read_anew", "keep none between calls")
class Caching(Vault):
    """Keeps a secret that has changed."""

    def __init__(self, config: VaultConfig) -> None:
        super().__init__(config)
        self.known: dict[str, str] = {}

    async def get(self, name: str) -> str:
        if name not in self.known:
            self.known[name] = await super().get(name)
        return self.known[name]


@wrong(*GOT, "`get` returns a str")
class Bytes(Vault):
    """Returns bytes."""

    async def get(self, name: str) -> str:
        return cast("str", (await super().get(name)).encode())


@wrong(*GOT, "neither strip nor decode it")
class Stripping(Vault):
    """Strips a secret."""

    async def get(self, name: str) -> str:
        return (await super().get(name)).strip()


@wrong("secret store", "test_a_cancelled_call_ends", "let CancelledError pass")
class Translating(Vault):
    """Translates its cancellation into an error."""

    async def get(self, name: str) -> str:
        try:
            return await super().get(name)
        except asyncio.CancelledError:
            raise Unavailable("cancelled") from None


@wrong(*SHOWN)
class Printing(Vault):
    """Prints what it reads."""

    async def get(self, name: str) -> str:
        value = await super().get(name)
        print(name, value)
        return value


@wrong(*SHOWN)
class Debugging(Vault):
    """Logs what it reads at level debug."""

    async def get(self, name: str) -> str:
        value = await super().get(name)
        logging.getLogger("vault").debug("%s is %r", name, value)
        return value


@wrong(*SHOWN)
class Helpful(Vault):
    """Shows all secrets in an error about one."""

    async def get(self, name: str) -> str:
        try:
            return await super().get(name)
        except SecretMissing:
            raise SecretMissing(f"no {name} in {self.secrets}") from None


@wrong("secret store", "test_closing_leaves_no_task", "cancel your tasks")
class Renewing(Vault):
    """Leaves a task that renews a token."""

    later: ClassVar[list[asyncio.Task[None]]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: VaultConfig, context: SecretStoreContext) -> AsyncIterator[Self]:
        cls.later.append(asyncio.create_task(asyncio.sleep(60), name="renew"))
        yield cls(config)
