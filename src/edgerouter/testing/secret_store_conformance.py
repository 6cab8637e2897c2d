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

    @pytest.fixture
    def rotate(self, vault):
        return lambda value: vault.secrets.update(db=value)
```
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerouter.errors import SecretMissing, Unavailable
from edgerouter.plugin_config import Configured
from edgerouter.secrets import SecretStore, SecretStoreConfig, SecretStoreContext
from edgerouter.testing.config_promises import secrets_of
from edgerouter.testing.fault_promises import whole_text
from edgerouter.testing.held_loop import MOST_SECONDS, never_holds_the_loop
from edgerouter.testing.needs import needs
from edgerouter.testing.plugin_promises import PluginPromises, assert_nothing_left, threads

HOSTILE_NAMES = ("../../../../etc/hostname", "a/../b?x=1&y#z", "line\nend", "größe 😀", "%00%2e%2e", "x" * 3000)
"""Names that a configuration may hold by mistake, or to read something else."""


@pytest.mark.asyncio
class SecretStoreConformance(PluginPromises):
    """Promises that the router relies on in a secret store. Subclass it under a name that starts with `Test`."""

    config_base: ClassVar[type[SecretStoreConfig]] = SecretStoreConfig
    store_class: ClassVar[type[SecretStore[Any]]]
    """The store under test."""
    missing: ClassVar[str] = "no-such-secret"
    """Name of a secret that the store does not have."""
    unsupported: ClassVar[Mapping[str, str]] = {}
    """Abilities that are missing here, with reasons: `rotate` where a secret cannot change. Tests that need it are left out."""
    most_held_seconds: ClassVar[float] = MOST_SECONDS
    """Longest time for which the store may block the event loop; more only if its SDK leaves no choice, with the reason."""

    @property
    def plugin_class(self) -> type[Configured[Any]]:
        return self.store_class

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The store's fields as in the YAML file; a subclass replaces this."""
        raise NotImplementedError("a subclass of SecretStoreConformance has a fixture `config` that gives the store's own fields")

    @pytest.fixture
    def secret(self) -> tuple[str, str]:
        """Name and value of a secret that the store has; a subclass replaces this."""
        raise NotImplementedError("a subclass of SecretStoreConformance has a fixture `secret` that gives a name and its value")

    @pytest.fixture
    def rotate(self) -> Callable[[str], None]:
        """A callable that gives the secret another value; a subclass replaces this, or declares why it cannot."""
        raise NotImplementedError(
            "a subclass of SecretStoreConformance has a fixture `rotate` that gives a callable, which gives the secret another "
            'value; where there is none: `unsupported = {"rotate": "a secret never changes"}`'
        )

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any]) -> AsyncIterator[SecretStore[Any]]:
        """Open the store as the router does."""
        model = self.store_class.Config.model_validate(dict(config))
        async with asyncio.timeout(self.patience), self.store_class.open(model, SecretStoreContext("store")) as store:
            yield store

    async def got(self, store: SecretStore[Any], name: str) -> str:
        """Ask for a secret, which is a text."""
        value = await store.get(name)
        assert isinstance(value, str), f"`get` returns a str, not {type(value).__name__}"
        return value

    async def test_a_secret_is_got_by_its_name(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Repeatedly, and several at once, exactly as the store holds it."""
        name, value = secret
        async with self.opened(config) as store:
            found = await asyncio.gather(*(self.got(store, name) for _ in range(3)))
        assert found == [value] * 3, "`get` returned another text than the secret: neither strip nor decode it, nor mix up calls"

    async def test_a_secret_that_is_not_there_is_missing(self, config: Mapping[str, Any]) -> None:
        """Another store may have it, so the router must distinguish this from an unreachable store."""
        async with self.opened(config) as store:
            try:
                value = await self.got(store, self.missing)
            except SecretMissing:
                return
            except Exception as error:
                raise AssertionError(f"a secret that the store does not have is SecretMissing, not {error!r}") from error
        raise AssertionError(f"a secret that the store does not have is SecretMissing; `get` returned {value!r}")

    async def test_strange_names_are_missing_and_read_nothing_else(self, config: Mapping[str, Any]) -> None:
        """A name is data: it never leads to another path, and never to an error that the router does not know."""
        async with self.opened(config) as store:
            for name in HOSTILE_NAMES:
                try:
                    await self.got(store, name)
                except Unavailable:
                    continue
                except Exception as error:
                    raise AssertionError(f"{name[:40]!r} raised {error!r}: raise SecretMissing or Unavailable") from error
                raise AssertionError(f"{name[:40]!r} gave a value, and is not a secret: quote the name, refuse `..` and `/`")

    @needs("rotate")
    async def test_a_rotated_secret_is_read_anew(
        self, config: Mapping[str, Any], secret: tuple[str, str], rotate: Callable[[str], None]
    ) -> None:
        """`get` returns the newest value: the router asks when it opens a source or sink, after a refusal above all."""
        async with self.opened(config) as store:
            await self.got(store, secret[0])
            rotate("another-value")
            assert await self.got(store, secret[0]) == "another-value", "`get` returned the old value: keep none between calls"

    async def test_a_cancelled_call_ends(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """The router stops waiting: the cancellation is passed on."""
        async with self.opened(config) as store:
            asking = asyncio.create_task(self.got(store, secret[0]), name="get under test")
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait((asking,))
        error = None if asking.cancelled() else asking.exception()
        assert error is None, f"`get` was cancelled and raised {error!r}: let CancelledError pass"

    async def test_no_secret_is_logged_printed_or_in_an_error(
        self,
        config: Mapping[str, Any],
        secret: tuple[str, str],
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Neither the secret nor one of the configuration, at no level."""
        caplog.set_level("DEBUG")
        errors = []
        async with self.opened(config) as store:
            await self.got(store, secret[0])
            try:
                await store.get(self.missing)
            except Unavailable as error:
                errors.append(whole_text(error))
            errors.append(f"{store!r} {store!s}")
        package = str(Path(str(sys.modules[self.store_class.__module__].__file__)).parent)
        own = [record.getMessage() for record in caplog.records if record.pathname.startswith(package)]
        printed = capsys.readouterr()
        text = "\n".join([*errors, *own, printed.out, printed.err])
        secrets = [secret[1], *secrets_of(self.model(config))]
        assert not any(each in text for each in secrets), "a secret stands in a log, in output, in an error or in the store's repr"

    async def test_closing_leaves_no_task(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Tasks, threads and connections of the store end with it."""
        tasks, running = asyncio.all_tasks(), threads()
        async with self.opened(config) as store:
            await store.get(secret[0])
        await assert_nothing_left(tasks, running, self.patience)

    async def test_the_event_loop_is_never_held_up(self, config: Mapping[str, Any], secret: tuple[str, str]) -> None:
        """Opening, reading and closing leave the event loop to all sources and sinks."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            pytest.skip("only asyncio's own event loop can be watched")

        async def life() -> None:
            async with self.opened(config) as store:
                await store.get(secret[0])

        await never_holds_the_loop(life, f"opening, asking and closing {self.store_class.__name__}", self.most_held_seconds)
