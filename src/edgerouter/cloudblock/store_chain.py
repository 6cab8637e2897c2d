"""All secret stores that are on as one, asked for the variables that are not in the environment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar

from pydantic import Field

from edgerouter.cloudblock.declared import Lookup
from edgerouter.config.model import ConfiguredSecretStore
from edgerouter.config.store_faults import counted_as_down
from edgerouter.errors import SecretMissing, Unauthorized, Unavailable
from edgerouter.secrets import SecretStore, SecretStoreConfig, SecretStoreContext

ANSWER_SECONDS: Final = 8.0
"""Time for one store to answer for one variable, with connection and sign-in at the first, which are ten round trips and more
over a satellite. One that is silent leaves time for another within that of `references.resolve`."""

AnswerT = TypeVar("AnswerT")


class ChainConfig(SecretStoreConfig):
    """Stores, and what they are asked for."""

    stores: tuple[Any, ...] = ()
    """`ConfiguredSecretStore`s, in the order in which they are asked."""
    lookups: dict[str, Any] = Field(default_factory=dict)
    """A `Lookup` for each key that may be asked for."""


class StoreChain(SecretStore[ChainConfig]):
    """Gives the secret of the first store that has it. A store that is down hides nothing that another has."""

    def __init__(self, config: ChainConfig, stack: AsyncExitStack, *, probe: bool) -> None:
        self._stores: tuple[ConfiguredSecretStore, ...] = config.stores
        self._lookups: Mapping[str, Lookup] = config.lookups
        self._stack = stack
        self._probe = probe
        self._opened: dict[str, SecretStore[Any]] = {}
        self._down: dict[str, Unavailable] = {}
        self._asked: set[str] = set()
        self._first: dict[str, asyncio.Lock] = {store.name: asyncio.Lock() for store in self._stores}

    @classmethod
    @asynccontextmanager
    async def open(cls, config: ChainConfig, context: SecretStoreContext) -> AsyncIterator[Self]:
        """Each store is opened when it is needed first."""
        async with AsyncExitStack() as stack:
            yield cls(config, stack, probe=context.probe)

    async def open_all(self) -> None:
        """Open every store now, in the task that will close them too, so that other tasks may ask."""
        for store in self._stores:
            with suppress(Unavailable):
                await self._bounded(store, self._store(store))

    async def get(self, name: str) -> str:
        """Return the value for a variable, as the plugin's configuration takes it."""
        _, value = await self.find(name)
        return value

    async def find(self, key: str) -> tuple[str, str]:
        """Return the name under which a variable's secret was found, and its value.

        Raises:
            SecretMissing: no store has it.
            Unavailable: a store that could not say may have it.
        """
        lookup = self._lookups[key]
        failure: Unavailable | None = None
        for store in self._stores:
            try:
                found, text = await self._answer(store, lookup)
            except SecretMissing:
                continue
            except Unavailable as error:
                failure = failure or error
                continue
            if lookup.variable.convert is None:
                return found, text
            try:
                return found, lookup.variable.convert(text)
            except ValueError as error:
                raise Unauthorized(f"secret {found} of {store.name}: {error}") from None
        if failure is not None:
            raise failure
        raise SecretMissing(f"no secret {key} in {', '.join(store.name for store in self._stores)}")

    async def _answer(self, store: ConfiguredSecretStore, lookup: Lookup) -> tuple[str, str]:
        """Ask; the first question is asked alone, as it shows whether the store answers at all."""
        if store.name not in self._asked:
            async with self._first[store.name]:
                if store.name not in self._asked:
                    try:
                        return await self._bounded(store, self._ask(store, lookup))
                    finally:
                        self._asked.add(store.name)
        return await self._bounded(store, self._ask(store, lookup))

    async def _bounded(self, store: ConfiguredSecretStore, asking: Awaitable[AnswerT]) -> AnswerT:
        """Wait for a store; one that did not answer is not asked again before the chain is opened again."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as bound:
                with counted_as_down(store.name):
                    return await asking
        except Unauthorized:
            raise
        except Unavailable as error:
            self._down[store.name] = error
            raise
        except TimeoutError as error:
            if not bound.expired():
                raise
            self._down[store.name] = Unavailable(f"secret store {store.name}: no answer in {ANSWER_SECONDS:g} s")
            raise self._down[store.name] from error

    async def _store(self, configured: ConfiguredSecretStore) -> SecretStore[Any]:
        if configured.name in self._down:
            raise self._down[configured.name]
        store = self._opened.get(configured.name)
        if store is None:
            context = SecretStoreContext(configured.name, self._probe)
            store = await self._stack.enter_async_context(configured.plugin.open(configured.config, context))
            self._opened[configured.name] = store
        return store

    async def _ask(self, configured: ConfiguredSecretStore, lookup: Lookup) -> tuple[str, str]:
        store = await self._store(configured)
        for name in lookup.names:
            try:
                text = (await store.get(name)).strip()
            except SecretMissing:
                continue
            if text:
                return name, text
        raise SecretMissing(f"no secret {lookup.key} in {configured.name}")
