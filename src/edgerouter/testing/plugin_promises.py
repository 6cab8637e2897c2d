"""Conformance tests that the suites of sources and secret stores share: the configuration, and what a plugin leaves behind."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from edgerouter.plugin_config import Configured, PluginConfig
from edgerouter.testing.config_promises import plain_secrets, secrets_of, undocumented
from edgerouter.testing.needs import Selecting

NAMES_OF_POOLS = ("asyncio_", "ThreadPoolExecutor-")
"""Beginnings of the names of threads that a pool keeps for the next call, such as that of `asyncio.to_thread`."""


def threads() -> set[threading.Thread]:
    """Return the threads that run now, without those of pools."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(NAMES_OF_POOLS)}


async def assert_nothing_left(tasks: set[asyncio.Task[Any]], threads_before: set[threading.Thread], patience: float) -> None:
    """Check that soon no other tasks and threads run than before."""
    deadline = asyncio.get_running_loop().time() + patience
    while (left := asyncio.all_tasks() - tasks) or threads() - threads_before:
        running = [*(task.get_name() for task in left), *(thread.name for thread in threads() - threads_before)]
        assert asyncio.get_running_loop().time() < deadline, (
            f"{', '.join(sorted(running))} run on after closing: cancel your tasks, await them, and end your threads when "
            "`open` is left"
        )
        await asyncio.sleep(0.01)


def tasks_of(suite: type) -> set[asyncio.Task[Any]]:
    """Return the tasks that the module of a suite has started, such as those of its fake service."""
    file = sys.modules[suite.__module__].__file__
    return {task for task in asyncio.all_tasks() if getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "") == file}


class PluginPromises(Selecting):
    """A configuration is documented and strict, and keeps its secrets."""

    config_base: ClassVar[type[PluginConfig]]
    """The class that the configuration derives from."""
    patience: ClassVar[float] = 20.0
    """Most seconds that a single step may take here."""

    @property
    def plugin_class(self) -> type[Configured[Any]]:
        """The plugin under test."""
        raise NotImplementedError

    def model(self, config: Mapping[str, Any]) -> BaseModel:
        """Validate a configuration as the router does."""
        return self.plugin_class.Config.model_validate(dict(config))

    async def test_every_field_is_documented(self) -> None:
        """A docstring under each field is the user manual."""
        model = self.plugin_class.Config
        assert issubclass(model, self.config_base), f"`Config` is a subclass of edgerouter.{self.config_base.__name__}"
        silent = list(undocumented(model))
        assert silent == [], f"write a docstring under these fields: {', '.join(silent)}"

    async def test_the_configuration_is_strict(self, config: Mapping[str, Any]) -> None:
        """An unknown key is an error, values do not change, and a schema describes them."""
        model = self.plugin_class.Config
        assert model.model_config.get("frozen") is True, f"leave `frozen` as {self.config_base.__name__} has it"
        assert model.model_config.get("extra") == "forbid", f"leave `extra` as {self.config_base.__name__} has it"
        assert model.model_json_schema()["additionalProperties"] is False
        with pytest.raises(ValidationError, match="no_such_key"):
            model.model_validate({**config, "no_such_key": 1})

    async def test_the_configuration_never_shows_a_secret(self, config: Mapping[str, Any]) -> None:
        """Neither its repr, nor its text, nor its dump holds the value of a secret; a password is a `SecretStr`."""
        plain = plain_secrets(self.plugin_class.Config)
        assert plain == [], f"make these fields SecretStr: {', '.join(plain)}"
        model = self.model(config)
        shown = f"{model!r} {model!s} {model.model_dump()!r} {model.model_dump_json()}"
        assert not [secret for secret in secrets_of(model) if secret in shown], (
            "a secret's value is shown by the configuration: leave SecretStr as it is"
        )
