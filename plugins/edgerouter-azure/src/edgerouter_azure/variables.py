"""The environment variables that switch the plugins of this distribution on without a file."""

from __future__ import annotations

from edgerouter import Variable, Variables

EVENT_HUBS = Variables(
    kind="sink",
    type="azure-event-hubs",
    variables=(Variable(("AZURE_EH_CONNECTIONSTRING", "AZURE_EH_CONNECTION_STRING"), "connection_string", secret=True),),
    # for receiving
    unused=("AZURE_EH_CONSUMER_GROUP", "AZURE_EH_STORAGE_ACCOUNT", "AZURE_EH_STORAGE_ACCOUNT_KEY", "AZURE_EH_CONTAINER_NAME"),
)
BLOB = Variables(
    kind="sink",
    type="azure-blob",
    variables=(
        Variable(("AZURE_BLOB_STORAGE_ACCOUNT",), "account"),
        Variable(("AZURE_BLOB_STORAGE_ACCOUNT_KEY",), "account_key", secret=True),
        Variable(("AZURE_BLOB_CONTAINER_NAME",), "container"),
    ),
    fixed={"framing": "payload", "key": "{id}"},
)

_NAME = Variable(("AZURE_VAULT_NAME",), "vault")
_TENANT = Variable(("AZURE_VAULT_TENANT_ID",), "credential.tenant_id")
_CLIENT = Variable(("AZURE_VAULT_CLIENT_ID",), "credential.client_id")

CERTIFICATE = Variables(
    kind="secret_store",
    type="azure-keyvault",
    variables=(
        _NAME,
        _TENANT,
        _CLIENT,
        Variable(("AZURE_VAULT_CERTIFICATE_FILE",), "credential.certificate_file"),
        Variable(("AZURE_VAULT_CERTIFICATE_PASSWORD",), "credential.certificate_password", required=False, secret=True),
    ),
    fixed={"credential": {"type": "certificate"}},
)
CLIENT_SECRET = Variables(
    kind="secret_store",
    type="azure-keyvault",
    variables=(_NAME, _TENANT, _CLIENT, Variable(("AZURE_VAULT_CLIENT_SECRET",), "credential.client_secret", secret=True)),
    fixed={"credential": {"type": "client-secret"}},
)
MANAGED_IDENTITY = Variables(
    kind="secret_store",
    type="azure-keyvault",
    variables=(_NAME, Variable(("AZURE_VAULT_CLIENT_ID",), "credential.client_id", required=False)),
    fixed={"credential": {"type": "managed-identity"}},
)

VARIABLES = (EVENT_HUBS, BLOB, CERTIFICATE, CLIENT_SECRET, MANAGED_IDENTITY)
