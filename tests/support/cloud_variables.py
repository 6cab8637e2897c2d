"""Variables of the cloud block's services, and the configuration that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import ConfiguredSink, RouterConfig

SQS = {
    "AWS_SQS_QUEUE_NAME": "readings",
    "AWS_SQS_REGION": "eu-west-1",
    "AWS_SQS_ACCESS_KEY": "AKIA",
    "AWS_SQS_SECRET_KEY": "geheim",
}


S3 = {"AWS_S3_BUCKET": "archive", "AWS_S3_REGION": "eu-west-1", "AWS_S3_ACCESS_KEY": "AKIA", "AWS_S3_SECRET_KEY": "geheim"}


STRING = "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=geheim;EntityPath=readings"


EVENT_HUBS = {"AZURE_EH_CONNECTIONSTRING": STRING}


BLOB = {
    "AZURE_BLOB_STORAGE_ACCOUNT": "plantstore",
    "AZURE_BLOB_STORAGE_ACCOUNT_KEY": "geheim",
    "AZURE_BLOB_CONTAINER_NAME": "readings",
}


def account(prefix: str) -> dict[str, str]:
    return {
        f"{prefix}_TYPE": "service_account",
        f"{prefix}_PROJECT_ID": "plant",
        f"{prefix}_CLIENT_EMAIL": "router@plant.iam.gserviceaccount.com",
        f"{prefix}_PRIVATE_KEY": "-----BEGIN\\ngeheim\\nEND-----",
    }


PUBSUB = {"GCP_PUBSUB_TOPIC": "readings", **account("GCP_PUBSUB")}


STORAGE = {"GCP_STORAGE_BUCKET": "archive", **account("GCP_STORAGE")}


INFLUXDB = {
    "INFLUXDB_URL": "http://influx:8086",
    "INFLUXDB_TOKEN": "geheim",
    "INFLUXDB_ORG": "plant",
    "INFLUXDB_BUCKET": "readings",
}


PEM = "-----BEGIN\ngeheim\nEND-----"


KEYS = {"region": "eu-west-1", "access_key_id": "AKIA", "secret_access_key": "geheim"}


GOOGLE = {"project": "plant", "client_email": "router@plant.iam.gserviceaccount.com", "private_key": PEM}


ONE_EACH = {"framing": "payload", "key": "{id}"}


ROWS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("aws-sqs", SQS, {"queue": "readings", **KEYS}),
    ("aws-s3", S3, {"bucket": "archive", **KEYS, **ONE_EACH}),
    ("azure-event-hubs", EVENT_HUBS, {"connection_string": STRING}),
    ("azure-blob", BLOB, {"account": "plantstore", "account_key": "geheim", "container": "readings", **ONE_EACH}),
    ("gcp-pubsub", PUBSUB, {"topic": "readings", **GOOGLE}),
    ("gcp-storage", STORAGE, {"bucket": "archive", **GOOGLE, **ONE_EACH}),
    (
        "influxdb",
        INFLUXDB,
        {"url": "http://influx:8086", "token": "geheim", "org": "plant", "bucket": "readings", "points": "body"},
    ),
]


IDS = [name for name, _, _ in ROWS]


def load(environ: Mapping[str, str], known: dict[str, str | None] | None = None) -> RouterConfig:
    return CloudBlock(environ, known).load(plugins)


def problems(environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    return list(caught.value.problems)


def only_sink(config: RouterConfig) -> ConfiguredSink:
    (sink,) = config.sinks
    return sink
