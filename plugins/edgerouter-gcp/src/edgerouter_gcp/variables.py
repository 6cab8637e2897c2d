"""The environment variables that switch the plugins of this distribution on without a file."""

from __future__ import annotations

from edgerouter import Variable, Variables
from edgerouter.variables import line_breaks, only

_UNUSED = ("CLIENT_ID", "AUTH_URI", "AUTH_PROVIDER_X509_CERT_URL", "CLIENT_X509_CERT_URL")


def _account(*prefixes: str) -> tuple[Variable, ...]:
    """The parts of a service account's key, under the names of the fields of its file."""

    def names(part: str) -> tuple[str, ...]:
        return tuple(f"{prefix}_{part}" for prefix in prefixes)

    return (
        Variable(names("TYPE"), convert=only("service_account")),
        Variable(names("PROJECT_ID"), "project"),
        Variable(names("CLIENT_EMAIL"), "client_email"),
        Variable(names("PRIVATE_KEY"), "private_key", secret=True, convert=line_breaks),
        Variable(names("PRIVATE_KEY_ID"), "private_key_id", required=False),
        Variable(names("TOKEN_URI"), "token_uri", required=False),
    )


def _unused(*prefixes: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{part}" for prefix in prefixes for part in _UNUSED)


PUBSUB = Variables(
    kind="sink",
    type="gcp-pubsub",
    variables=(Variable(("GCP_PUBSUB_TOPIC",), "topic"), *_account("GCP_PUBSUB")),
    unused=("GCP_PUBSUB_SUBSCRIPTION", *_unused("GCP_PUBSUB")),
)
PUBSUB_IN = Variables(
    kind="source",
    type="gcp-pubsub",
    variables=(Variable(("GCP_PUBSUB_SUBSCRIPTION",), "subscription"), *_account("GCP_PUBSUB")),
    unused=("GCP_PUBSUB_TOPIC", *_unused("GCP_PUBSUB")),
    # the subscription is of the topic that the sink publishes to
    fixed={"skip_own": True},
)
STORAGE = Variables(
    kind="sink",
    type="gcp-storage",
    variables=(Variable(("GCP_STORAGE_BUCKET", "GCP_BLOB_BUCKET"), "bucket"), *_account("GCP_STORAGE", "GCP_BLOB")),
    unused=_unused("GCP_STORAGE", "GCP_BLOB"),
    # an object for each message costs a round trip each
    fixed={"framing": "payload", "key": "{id}", "concurrency": 16},
)
SECRET_MANAGER = Variables(
    kind="secret_store",
    type="gcp-secret-manager",
    variables=_account("GCP_SECRETMGR"),
    unused=_unused("GCP_SECRETMGR"),
)

VARIABLES = (PUBSUB, PUBSUB_IN, STORAGE, SECRET_MANAGER)
