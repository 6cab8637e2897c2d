"""All secret stores that are on as one, which is asked for the variables that are not in the environment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

from edgerouter.config.declared import Lookup
from edgerouter.config.model import ConfiguredSecretStore
from edgerouter.errors import SecretMissing, SinkUnauthorized, SinkUnavailable
from edgerouter.secrets import SecretStore, SecretStoreConfig

_SECONDS: Final = 4.0
"""How long one store may take for one variable; all stores together must fit into the time of `references.resolve`."""


class ChainConfig(SecretStoreConfig):
    """Which stores are asked for what."""

    stores: tuple[Any, ...]
    """`ConfiguredSecretStore`s, in the order in which they are asked."""
    lookups: dict[str, Any]
    """What may be asked for: a `Lookup` for each key."""


class StoreChain(SecretStore[ChainConfig]):
    """Gives what the first store has that has it. A store that is down hides nothing that another has."""

    Config = ChainConfig

    def __init__(self, config: ChainConfig, stack: AsyncExitStack) -> None:
        self._stores: tuple[ConfiguredSecretStore, ...] = config.stores
        self._lookups: Mapping[str, Lookup] = config.lookups
        self._stack = stack
        self._opened: dict[str, SecretStore[Any]] = {}
        self._down: dict[str, SinkUnavailable] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, config: ChainConfig) -> AsyncIterator[Self]:
        """Each store is opened when it is needed first."""
        async with AsyncExitStack() as stack:
            yield cls(config, stack)

    async def get(self, name: str) -> str:
        """The value for a variable, as the plugin's configuration takes it."""
        _, value = await self.find(name)
        return value

    async def find(self, key: str) -> tuple[str, str]:
        """Under which name a variable's secret was found, and the value for it.

        Raises:
            SecretMissing: no store has it.
            SinkUnavailable: a store that could not say may have it.
        """
        lookup = self._lookups[key]
        failure: SinkUnavailable | None = None
        for store in self._stores:
            try:
                found, text = await self._bounded(store, lookup)
            except SecretMissing:
                continue
            except SinkUnavailable as error:
                failure = failure or error
                continue
            if lookup.variable.convert is None:
                return found, text
            try:
                return found, lookup.variable.convert(text)
            except ValueError as error:
                raise SinkUnauthorized(f"secret {found} of {store.name}: {error}") from None
        if failure is not None:
            raise failure
        raise SecretMissing(f"no secret {key} in {', '.join(store.name for store in self._stores)}")

    async def _bounded(self, store: ConfiguredSecretStore, lookup: Lookup) -> tuple[str, str]:
        """Ask; a store that did not answer is not asked again before the chain is opened again."""
        if store.name in self._down:
            raise self._down[store.name]
        try:
            async with asyncio.timeout(_SECONDS) as bound:
                return await self._ask(store, lookup)
        except SinkUnauthorized:
            raise
        except SinkUnavailable as error:
            self._down[store.name] = error
            raise
        except TimeoutError as error:
            if not bound.expired():
                raise
            self._down[store.name] = SinkUnavailable(f"secret store {store.name}: no answer in {_SECONDS:g} s")
            raise self._down[store.name] from error

    async def _ask(self, configured: ConfiguredSecretStore, lookup: Lookup) -> tuple[str, str]:
        store = self._opened.get(configured.name)
        if store is None:
            store = await self._stack.enter_async_context(configured.plugin.open(configured.config))
            self._opened[configured.name] = store
        for name in (*lookup.names, *lookup.shared):
            try:
                text = (await store.get(name)).strip()
            except SecretMissing:
                continue
            if text:
                return name, text
        raise SecretMissing(f"no secret {lookup.key} in {configured.name}")
