"""Secret store `azure-keyvault`: `${azure-keyvault:name}` in the configuration."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Self

from azure.core.exceptions import AzureError, HttpResponseError
from pydantic import Field

from edgerouter import Duration, SecretMissing, SecretStore, SecretStoreConfig, SecretStoreContext, Unauthorized, Unavailable
from edgerouter_azure.credentials import SUFFIXES, AzureFields, cause, http_options, open_credential
from edgerouter_azure.errors import translate_at_opening
from edgerouter_azure.sdk import load
from edgerouter_azure.transport import open_transport

if TYPE_CHECKING:
    from azure.keyvault.secrets.aio import SecretClient

_HINT = "reading needs the role Key Vault Secrets User, or an access policy with Get for secrets"
_NAME = re.compile(r"([0-9A-Za-z-]{1,127})(?:[/@]([0-9A-Za-z]{1,64}))?")


class KeyVaultConfig(AzureFields, SecretStoreConfig):
    """Configuration of `azure-keyvault`. The identity needs the role Key Vault Secrets User."""

    vault: str = Field(min_length=3, examples=["plant-secrets"])
    """The vault: its name, such as `plant-secrets`, or its URL."""
    cache: Duration = Field(default=5.0, ge=0)
    """Time for which a value counts as fresh, so that sinks that open together read a secret once. A sink that is refused opens
    again after a longer time than that, and so gets the new value of a rotated secret."""
    verify_challenge_resource: bool = True
    """Log in only for a service whose domain is the vault's; turn it off for a vault behind another name, such as a gateway."""
    connect_timeout: Duration = Field(default=20.0, gt=0)
    """Time to connect."""

    def url(self) -> str:
        """Address of the vault."""
        return self.vault if "://" in self.vault else f"https://{self.vault}.{SUFFIXES[self.cloud]['vault']}"


class KeyVaultStore(SecretStore[KeyVaultConfig]):
    """Reads `name`, its newest version, or `name/version`."""

    _read: ClassVar[dict[tuple[str, str], tuple[float, str]]] = {}
    """Time of the last read of each secret, and its value. A store is opened each time a sink opens, so this outlives it: a sink
    that reopens while the vault is unreachable gets the last known value."""

    def __init__(self, config: KeyVaultConfig, client: SecretClient) -> None:
        self._config, self._client, self._url, self._cache = config, client, config.url(), config.cache

    @classmethod
    @asynccontextmanager
    async def open(cls, config: KeyVaultConfig, context: SecretStoreContext) -> AsyncIterator[Self]:  # noqa: ARG003  (reading disturbs nothing)
        await load("azure.keyvault.secrets.aio")
        from azure.keyvault.secrets.aio import SecretClient  # noqa: PLC0415  (70 ms that only an open store needs)

        if not config.url().startswith("https://"):
            raise Unauthorized(f"open vault {config.vault}: a vault is reached by https:// alone")
        async with (
            open_credential(config) as credential,
            open_transport(config.ca_file, connect_timeout=config.connect_timeout) as transport,
        ):
            options = {
                "verify_challenge_resource": config.verify_challenge_resource,
                "transport": transport,
                **http_options(config),
            }
            # in a thread, because it imports the code of the API's version
            async with await asyncio.to_thread(SecretClient, config.url(), credential, **options) as client:
                yield cls(config, client)

    async def get(self, name: str) -> str:
        """The value of a secret; of `name/version`, that version's.

        Raises:
            Unavailable: the vault cannot be reached, does not let us in, or has no such secret.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise Unauthorized(f"{name!r} is not the name of a secret; write name or name/version")
        key = (self._url, name)
        read = self._read.get(key)
        if read is not None and time.monotonic() - read[0] < self._cache:
            return read[1]
        try:
            secret = await self._client.get_secret(match[1], match[2])
        except (AzureError, OSError, ValueError) as error:
            unavailable = _explain(error, name, self._url)
            if read is not None and not isinstance(unavailable, Unauthorized):
                return read[1]
            raise unavailable from cause(self._config, error)
        if secret.value is None:
            raise Unavailable(f"read secret {name} of {self._url}: the answer is not Key Vault's")
        self._read[key] = (time.monotonic(), secret.value)
        return secret.value


def _explain(error: Exception, name: str, url: str) -> Unavailable:
    doing = f"read secret {name} of {url}"
    if isinstance(error, HttpResponseError) and error.status_code == 404:
        return SecretMissing(f"{doing}: the vault has no such secret or version")
    return translate_at_opening(error, doing, hint=_HINT)
