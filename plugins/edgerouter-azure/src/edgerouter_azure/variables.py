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
_GROUP = Variable(("AZURE_EH_CONSUMER_GROUP",), "consumer_group", required=False)
_CHECKPOINTS = (
    Variable(("AZURE_EH_STORAGE_ACCOUNT",), "checkpoint_store.account"),
    Variable(("AZURE_EH_STORAGE_ACCOUNT_KEY",), "checkpoint_store.account_key", secret=True),
    Variable(("AZURE_EH_CONTAINER_NAME",), "checkpoint_store.container"),
)
_OF_OUR_OWN = {"skip_own": True}
"""The hub is the one that the sink sends to."""
EVENT_HUBS_IN = Variables(
    kind="source",
    type="azure-event-hubs",
    variables=(*EVENT_HUBS.variables, _GROUP, *_CHECKPOINTS),
    fixed=_OF_OUR_OWN,
)
EVENT_HUBS_IN_WITHOUT_BLOBS = Variables(
    kind="source",
    type="azure-event-hubs",
    variables=(*EVENT_HUBS.variables, _GROUP),
    unused=tuple(name for variable in _CHECKPOINTS for name in variable.names),
    fixed=_OF_OUR_OWN,
)
BLOB = Variables(
    kind="sink",
    type="azure-blob",
    variables=(
        Variable(("AZURE_BLOB_STORAGE_ACCOUNT",), "account"),
        Variable(("AZURE_BLOB_STORAGE_ACCOUNT_KEY",), "account_key", secret=True),
        Variable(("AZURE_BLOB_CONTAINER_NAME",), "container"),
    ),
    # an object for each message costs a round trip each
    fixed={"framing": "payload", "key": "{id}", "concurrency": 16},
)

IOT_HUB = Variables(
    kind="sink",
    type="azure-iot-hub",
    variables=(Variable(("IOTHUB_DEVICE_CONNECTION_STRING",), "connection_string", secret=True),),
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

VARIABLES = (EVENT_HUBS, EVENT_HUBS_IN, EVENT_HUBS_IN_WITHOUT_BLOBS, BLOB, IOT_HUB, CERTIFICATE, CLIENT_SECRET, MANAGED_IDENTITY)
