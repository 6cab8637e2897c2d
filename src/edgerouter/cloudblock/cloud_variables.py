"""Environment variables of the plugins that distributions of ours bring, known here so that a missing distribution can be named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_ACCOUNT: Final = (
    *("TYPE", "PROJECT_ID", "CLIENT_EMAIL", "PRIVATE_KEY", "PRIVATE_KEY_ID", "TOKEN_URI"),
    *("CLIENT_ID", "AUTH_URI", "AUTH_PROVIDER_X509_CERT_URL", "CLIENT_X509_CERT_URL"),
)
"""The parts of a Google service account's key."""


def _with(*prefixes: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}_{name}" for prefix in prefixes for name in names)


BY_EXTRA: Final[Mapping[str, Mapping[tuple[str, str], tuple[str, ...]]]] = {
    "aws": {
        ("sink", "aws-sqs"): _with("AWS_SQS", names=("QUEUE_NAME", "REGION", "ACCESS_KEY", "SECRET_KEY")),
        ("sink", "aws-s3"): _with("AWS_S3", names=("BUCKET", "REGION", "ACCESS_KEY", "SECRET_KEY")),
        ("secret_store", "aws-secrets-manager"): _with("AWS_SECRETSMGR", names=("REGION", "ACCESS_KEY", "SECRET_KEY")),
    },
    "azure": {
        ("sink", "azure-event-hubs"): _with(
            "AZURE_EH",
            names=(
                *("CONNECTIONSTRING", "CONNECTION_STRING", "CONSUMER_GROUP"),
                *("STORAGE_ACCOUNT", "STORAGE_ACCOUNT_KEY", "CONTAINER_NAME"),
            ),
        ),
        ("sink", "azure-blob"): _with("AZURE_BLOB", names=("STORAGE_ACCOUNT", "STORAGE_ACCOUNT_KEY", "CONTAINER_NAME")),
        ("sink", "azure-iot-hub"): ("IOTHUB_DEVICE_CONNECTION_STRING",),
        ("secret_store", "azure-keyvault"): _with(
            "AZURE_VAULT",
            names=("NAME", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "CERTIFICATE_FILE", "CERTIFICATE_PASSWORD"),
        ),
    },
    "gcp": {
        ("sink", "gcp-pubsub"): _with("GCP_PUBSUB", names=("TOPIC", "SUBSCRIPTION", *_ACCOUNT)),
        ("sink", "gcp-storage"): _with("GCP_STORAGE", "GCP_BLOB", names=("BUCKET", *_ACCOUNT)),
        ("secret_store", "gcp-secret-manager"): _with("GCP_SECRETMGR", names=_ACCOUNT),
    },
}
"""Names by extra of our distribution, then by kind and type; without those that several plugins share."""

PRESETS: Final[Mapping[str, str]] = {"cloudsync": "CLOUD_SYNC"}
"""Variables that switch presets on, by extra, which has the preset's name."""


def names() -> Iterator[str]:
    """Yield every name."""
    for by_plugin in BY_EXTRA.values():
        for each in by_plugin.values():
            yield from each
