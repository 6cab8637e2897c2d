"""The secret-store contract: what a plugin writes to resolve references such as `${azure-keyvault:name}`.

`${env:NAME}` and `${file:/run/secrets/x}` are resolved while the configuration is loaded; a reference to a store is resolved each
time a source or sink opens, so that a store that is down at boot delays only what needs it, and a rotated secret is picked up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import ConfigDict

from edgerouter.masking.models import KeepsItsSecrets


class SecretStoreConfig(KeepsItsSecrets):
    """Base of a secret store's configuration. A docstring under every field is the user manual; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=SecretStoreConfig)


class SecretStore(ABC, Generic[ConfigT]):
    """An open secret store. An object exists only while its client is open."""

    Config: ClassVar[type[Any]]
    """The plugin's own fields, a subclass of `SecretStoreConfig`."""

    @classmethod
    @abstractmethod
    def open(cls, config: ConfigT) -> AbstractAsyncContextManager[Self]:
        """Connect, yield the store, close on exit."""

    @abstractmethod
    async def get(self, name: str) -> str:
        """The secret's newest value. `name` is what stands after the colon of the reference. It may be asked for several at once.

        Raises:
            SecretMissing: the store answers that it has no such secret.
            Unavailable: the store cannot be reached, or does not let us in; tried again with back-off.
        """
