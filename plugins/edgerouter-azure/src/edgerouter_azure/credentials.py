"""Identity towards Azure: clouds, token credentials, proxy and certificate authorities, for every sink of this distribution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from edgerouter import Section, Unauthorized
from edgerouter_azure.sdk import load
from edgerouter_azure.transport import open_transport

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

Cloud = Literal["public", "china", "us-government"]

SUFFIXES: Mapping[Cloud, Mapping[str, str]] = {
    "public": {"event-hubs": "servicebus.windows.net", "storage": "core.windows.net", "vault": "vault.azure.net"},
    "china": {"event-hubs": "servicebus.chinacloudapi.cn", "storage": "core.chinacloudapi.cn", "vault": "vault.azure.cn"},
    "us-government": {
        "event-hubs": "servicebus.usgovcloudapi.net",
        "storage": "core.usgovcloudapi.net",
        "vault": "vault.usgovcloudapi.net",
    },
}
"""Host names end with these: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure"""

_AUTHORITIES: Mapping[Cloud, str] = {
    "public": "https://login.microsoftonline.com",
    "china": "https://login.chinacloudapi.cn",
    "us-government": "https://login.microsoftonline.us",
}

NO_RETRIES: Mapping[str, Any] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}
"""The router is the only owner of retries."""


class DefaultCredential(Section):
    """Credentials found by azure-identity: environment variables, workload identity, managed identity, the developer's login."""

    type: Literal["default"] = "default"
    """`default`: the first that works of environment variables, workload identity, managed identity and the Azure CLI."""


class ManagedIdentity(Section):
    """The identity of the machine: an Azure VM, or a device that Azure Arc manages."""

    type: Literal["managed-identity"]
    """`managed-identity`: the identity of the machine (an Azure VM, a device with Azure Arc)."""
    client_id: str | None = Field(default=None, examples=["11111111-2222-3333-4444-555555555555"])
    """Client id of a user-assigned identity; without it the system-assigned one."""


class WorkloadIdentity(Section):
    """A Kubernetes service account that Azure trusts."""

    type: Literal["workload-identity"]
    """`workload-identity`: a federated Kubernetes service account."""
    tenant_id: str | None = Field(default=None, examples=["99999999-8888-7777-6666-555555555555"])
    """Tenant; default: `AZURE_TENANT_ID`."""
    client_id: str | None = Field(default=None, examples=["11111111-2222-3333-4444-555555555555"])
    """Application; default: `AZURE_CLIENT_ID`."""
    token_file: Path | None = Field(default=None, examples=["/var/run/secrets/azure/tokens/azure-identity-token"])
    """File with the service account's token; default: `AZURE_FEDERATED_TOKEN_FILE`."""


class ClientSecret(Section):
    """An application with a secret."""

    type: Literal["client-secret"]
    """`client-secret`: an application (service principal) with a secret."""
    tenant_id: str = Field(examples=["99999999-8888-7777-6666-555555555555"])
    """Tenant (directory) id."""
    client_id: str = Field(examples=["11111111-2222-3333-4444-555555555555"])
    """Application (client) id."""
    client_secret: SecretStr
    """The application's secret."""


class ClientCertificate(Section):
    """An application with a certificate."""

    type: Literal["certificate"]
    """`certificate`: an application (service principal) with a certificate."""
    tenant_id: str = Field(examples=["99999999-8888-7777-6666-555555555555"])
    """Tenant (directory) id."""
    client_id: str = Field(examples=["11111111-2222-3333-4444-555555555555"])
    """Application (client) id."""
    certificate_file: Path = Field(examples=["/etc/edgerouter/application.pem"])
    """PEM or PKCS#12 file with the certificate and its private key; read each time the sink opens."""
    certificate_password: SecretStr | None = None
    """Password of the private key."""


def _spell_out(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Credential = Annotated[
    Annotated[
        DefaultCredential | ManagedIdentity | WorkloadIdentity | ClientSecret | ClientCertificate, Field(discriminator="type")
    ],
    BeforeValidator(_spell_out, json_schema_input_type=str | dict[str, Any]),
]
"""A credential of Microsoft Entra ID; a bare word such as `managed-identity` is short for its `type`."""


def awaits_secret(value: SecretStr) -> bool:
    """Return True if the value holds a reference to a secret store; it is checked when the sink opens, with the secret in place."""
    return "${" in value.get_secret_value()


class AzureFields(Section):
    """Fields that all sinks and stores of this distribution have."""

    credential: Credential = Field(default=DefaultCredential(), examples=["managed-identity"])
    """Login to Microsoft Entra ID where neither a connection string nor a key is given: `default`, `managed-identity`,
    `workload-identity`, or a section with `type: client-secret` or `type: certificate`."""
    cloud: Cloud = "public"
    """`public`, or a sovereign cloud: `china`, `us-government`."""
    authority: str | None = Field(default=None, examples=["https://login.microsoftonline.com"])
    """URL of another login service than the cloud's own, such as that of a private cloud."""
    proxy: SecretStr | None = None
    """HTTP proxy, `http://[user:password@]host:port`."""
    ca_file: Path | None = Field(default=None, examples=["/etc/ssl/certs/plant-ca.pem"])
    """File with the certificate authorities to trust instead of the well-known ones."""

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and not awaits_secret(proxy):
            parts = urlsplit(proxy.get_secret_value())
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("a proxy is written as http://host:port or http://user:password@host:port")
        return proxy


def cause(fields: AzureFields, error: BaseException) -> BaseException | None:
    """Cause to raise an error from: none where there is a proxy, because aiohttp's errors hold its password."""
    return None if fields.proxy is not None else error


def http_options(fields: AzureFields) -> dict[str, Any]:
    """Keyword arguments of every client on azure-core, beside its transport: no retries, the proxy."""
    options: dict[str, Any] = dict(NO_RETRIES)
    if fields.proxy is not None:
        url = fields.proxy.get_secret_value()
        options["proxies"] = {"http": url, "https": url}
    return options


@asynccontextmanager
async def open_credential(fields: AzureFields) -> AsyncIterator[AsyncTokenCredential]:
    """A token credential, closed on exit.

    Raises:
        Unauthorized: the certificate or token file cannot be used.
    """
    await load("azure.identity.aio")
    async with open_transport(fields.ca_file) as transport:
        try:
            credential = await asyncio.to_thread(_make, fields, transport)
        except (ValueError, OSError) as error:
            raise Unauthorized(f"the credential cannot be used: {error}") from error
        async with credential:
            yield credential


def _make(fields: AzureFields, transport: AioHttpTransport) -> AsyncTokenCredential:
    from azure.identity import aio  # noqa: PLC0415  (161 ms and 28 MB that a sink with a key does not need)

    options = {**http_options(fields), "transport": transport, "authority": fields.authority or _AUTHORITIES[fields.cloud]}
    if fields.authority is not None:
        options["disable_instance_discovery"] = True
    match fields.credential:
        case ManagedIdentity(client_id=client_id):
            return aio.ManagedIdentityCredential(client_id=client_id, transport=transport, **NO_RETRIES)
        case WorkloadIdentity(tenant_id=tenant, client_id=client, token_file=file):
            given = {"tenant_id": tenant, "client_id": client, "token_file_path": str(file) if file else None}
            return aio.WorkloadIdentityCredential(**{name: value for name, value in given.items() if value}, **options)
        case ClientSecret(tenant_id=tenant, client_id=client, client_secret=secret):
            return aio.ClientSecretCredential(tenant, client, secret.get_secret_value(), **options)
        case ClientCertificate(tenant_id=tenant, client_id=client, certificate_file=path, certificate_password=password):
            key = password.get_secret_value() if password else None
            return aio.CertificateCredential(tenant, client, certificate_data=path.read_bytes(), password=key, **options)
        case _:
            return aio.DefaultAzureCredential(**options)
