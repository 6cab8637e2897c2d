"""Conformance suite of secret stores: one pytest class that a store's author subclasses.

```python
class TestMyStore(SecretStoreConformance):
    store_class = MyStore

    @pytest.fixture
    def config(self, vault):
        return {"url": vault.url}

    @pytest.fixture
    def secret(self, vault):
        vault.secrets["db"] = "hunter2"
        return "db", "hunter2"
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from edgerouter.errors import SecretMissing
from edgerouter.secrets import SecretStore, SecretStoreConfig, SecretStoreContext
from edgerouter.testing.config_promises import undocumented
from edgerouter.testing.held_loop import MOST_SECONDS, never_holds_the_loop


@pytest.mark.asyncio
class SecretStoreConformance:
    """Promises that the router relies on in a secret store. Subclass it under a name that starts with `Test`."""

    store_class: ClassVar[type[SecretStore[Any]]]
    """The store under test."""
    missing: ClassVar[str] = "no-such-secret"
    """Name of a secret that the store does not have."""
    most_held_seconds: ClassVar[float] = MOST_SECONDS
    """Longest time for which the store may block the event loop; more only if its SDK leaves no choice, with the reason."""
    patience: ClassVar[float] = 20.0
    """Most seconds that a single call may take here."""

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The store's fields as in the YAML file; a subclass replaces this."""
        raise NotImplementedError("a subclass of SecretStoreConformance has a fixture `config` that gives the store's own fields")

    @pytest.fixture
    def secret(self) -> tuple[str, str]:
        """Name and value of a secret that the store has; a subclass replaces this."""
        raise NotImplementedError("a subclass of SecretStoreConformance has a fixture `secret` that gives a name and its value")

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any]) -> AsyncIterator[SecretStore[Any]]:
        """Open the store as the router does."""
        model = self.store_class.Config.model_validate(dict(config))
        async with asyncio.timeout(self.patience), self.store_class.open(model, SecretStoreContext("store")) as store:
            yield store

    async def test_every_field_is_documented(self) -> None:
        """A docstring under each field is the user manual; unknown keys are errors."""
        assert issubclass(self.store_class.Config, SecretStoreConfig)
        assert list(undocumented(self.store_class.Config)) == []

    async def test_a_secret_is_got_by_its_name(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Repeatedly, and several at once."""
        name, value = secret
        async with self.opened(config) as store:
            assert await asyncio.gather(*(store.get(name) for _ in range(3))) == [value] * 3

    async def test_a_secret_that_is_not_there_is_missing(self, config: Mapping[str, Any]) -> None:
        """Another store may have it, so the router must distinguish this from an unreachable store."""
        async with self.opened(config) as store:
            with pytest.raises(SecretMissing):
                await store.get(self.missing)

    async def test_closing_leaves_no_task(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Tasks and connections of the store end with it."""
        before = asyncio.all_tasks()
        async with self.opened(config) as store:
            await store.get(secret[0])
        async with asyncio.timeout(self.patience):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left, timeout=0.05)

    async def test_the_event_loop_is_never_held_up(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Opening, reading and closing leave the event loop to all sources and sinks."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            pytest.skip("only asyncio's own event loop can be watched")

        async def life() -> None:
            async with self.opened(config) as store:
                await store.get(secret[0])

        await never_holds_the_loop(life, f"opening, asking and closing {self.store_class.__name__}", self.most_held_seconds)
