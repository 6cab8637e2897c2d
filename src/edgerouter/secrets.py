"""The secret-store contract: what a plugin writes to resolve references such as `${azure-keyvault:name}`.

`${env:NAME}` and `${file:/run/secrets/x}` are resolved while the configuration is loaded; a reference to a store is resolved each
time a source or sink opens, so that a store that is down at boot delays only what needs it, and a rotated secret is picked up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self, TypeVar

from edgerouter.plugin_config import Configured, PluginConfig


class SecretStoreConfig(PluginConfig):
    """Base of a secret store's configuration. A docstring under every field is the user manual; unknown keys are errors."""


ConfigT = TypeVar("ConfigT", bound=SecretStoreConfig)


@dataclass(frozen=True, slots=True)
class SecretStoreContext:
    """Facts that the router gives to a secret store when it opens it."""

    name: str
    """Name of the store in the configuration."""
    probe: bool = False
    """True for `edgerouter check --connect`, possibly while the router runs: read, and disturb nothing that it uses."""


class SecretStore(Configured[ConfigT], ABC):
    """An open secret store. An object exists only while its client is open."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT, context: SecretStoreContext) -> AbstractAsyncContextManager[Self]:
        """Connect, yield the store, close on exit.

        Raises:
            Unavailable: the store cannot be reached, or does not let us in.
        """

    @abstractmethod
    async def get(self, name: str) -> str:
        """Return the secret's newest value; several calls may run at once.

        Args:
            name: the text after the colon of the reference.

        Raises:
            SecretMissing: the store answers that it has no such secret.
            Unavailable: the store cannot be reached, or does not let us in; tried again with back-off.
        """
