"""Services as configured by users of the cloud block: environment variables only, with a test server behind each."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from edgerouter.testing import Received
from support.amqp.conformance import EventHubsServer
from support.aws.s3 import S3Server, Stored
from support.aws.sqs import SqsServer
from support.azure.azurite import ACCOUNT as AZURE_ACCOUNT
from support.azure.azurite import API_VERSION, KEY, Azurite
from support.command import run
from support.google.identity import ACCOUNT, PROJECT, Identity, pem
from support.google.pubsub import PUBLISH, PubsubServer
from support.google.storage import CREATE, StorageServer, one_payload
from support.influxdb import BUCKET, ORG, TOKEN, InfluxDbServer
from support.router import RouterProcess

AWS_KEY, AWS_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
_PASSED = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH")

Receive = Callable[[], Awaitable[Sequence[Received]]]


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the cloud block's table."""

    sink: str
    """Name of the sink."""
    variables: Mapping[str, str]
    """Variables that its user sets."""
    tuning: Mapping[str, str]
    """`EDGEROUTER__` variables that point to the test's server."""
    secrets: tuple[str, ...]
    """Parts of the variables that must never be shown."""
    receive: Receive


@asynccontextmanager
async def sqs() -> AsyncIterator[Service]:
    """AWS SQS."""
    async with SqsServer().running() as server:
        server.create("readings")
        variables = {
            "AWS_SQS_QUEUE_NAME": "readings",
            "AWS_SQS_REGION": "eu-west-1",
            "AWS_SQS_ACCESS_KEY": AWS_KEY,
            "AWS_SQS_SECRET_KEY": AWS_SECRET,
        }
        tuning = {"EDGEROUTER__SINKS__AWS_SQS__ENDPOINT_URL": server.url}
        yield Service("aws-sqs", variables, tuning, (AWS_SECRET,), server.received)


@asynccontextmanager
async def s3() -> AsyncIterator[Service]:
    """AWS S3."""

    def unpack(_key: str, stored: Stored) -> Sequence[Received]:
        return [Received(stored.body)]

    async with S3Server(unpack).running() as server:
        variables = {
            "AWS_S3_BUCKET": server.bucket,
            "AWS_S3_REGION": "eu-west-1",
            "AWS_S3_ACCESS_KEY": AWS_KEY,
            "AWS_S3_SECRET_KEY": AWS_SECRET,
        }
        tuning = {"EDGEROUTER__SINKS__AWS_S3__ENDPOINT_URL": server.url, "EDGEROUTER__SINKS__AWS_S3__ADDRESSING": "path"}
        yield Service("aws-s3", variables, tuning, (AWS_SECRET,), server.received)


@asynccontextmanager
async def event_hubs() -> AsyncIterator[Service]:
    """Azure Event Hubs, in the form of its emulator."""
    async with EventHubsServer().running() as server:
        text = server.connection_string()
        key = text.partition("SharedAccessKey=")[2].partition(";")[0]
        yield Service("azure-event-hubs", {"AZURE_EH_CONNECTIONSTRING": text}, {}, (key,), server.received)


@asynccontextmanager
async def blob(azurite: Azurite) -> AsyncIterator[Service]:
    """Azure Blob Storage, on Azurite; the container does not exist yet."""
    container = azurite.new_container()

    async def receive() -> Sequence[Received]:
        return [Received(data) for data in (await asyncio.to_thread(azurite.blobs, container)).values()]

    variables = {
        "AZURE_BLOB_STORAGE_ACCOUNT": AZURE_ACCOUNT,
        "AZURE_BLOB_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_BLOB_CONTAINER_NAME": container,
    }
    tuning = {"EDGEROUTER__SINKS__AZURE_BLOB__ENDPOINT": azurite.url, "EDGEROUTER__SINKS__AZURE_BLOB__API_VERSION": API_VERSION}
    yield Service("azure-blob", variables, tuning, (KEY,), receive)


def google_account(prefix: str, identity: Identity) -> dict[str, str]:
    """Return the variables of a service account, with the key as in its JSON file."""
    return {
        f"{prefix}_TYPE": "service_account",
        f"{prefix}_PROJECT_ID": PROJECT,
        f"{prefix}_CLIENT_EMAIL": ACCOUNT,
        f"{prefix}_PRIVATE_KEY": pem(identity.key).replace("\n", "\\n"),
    }


@asynccontextmanager
async def pubsub(identity: Identity) -> AsyncIterator[Service]:
    """GCP Pub/Sub."""
    topic = f"projects/{PROJECT}/topics/readings"
    identity.grant(topic, PUBLISH)
    async with PubsubServer(identity).running() as server:
        server.create(topic)
        variables = {"GCP_PUBSUB_TOPIC": "readings", **google_account("GCP_PUBSUB", identity)}
        tuning = {
            "EDGEROUTER__SINKS__GCP_PUBSUB__ENDPOINT": server.url,
            "EDGEROUTER__SINKS__GCP_PUBSUB__TOKEN_URI": f"{identity.url}/token",
        }
        yield Service("gcp-pubsub", variables, tuning, (_middle_of_the_key(identity),), server.received)


@asynccontextmanager
async def storage(identity: Identity) -> AsyncIterator[Service]:
    """GCP Cloud Storage."""
    identity.grant("plant-archive", CREATE)
    async with StorageServer(identity).running() as server:
        server.create("plant-archive")
        server.unframe = one_payload
        variables = {"GCP_STORAGE_BUCKET": "plant-archive", **google_account("GCP_STORAGE", identity)}
        tuning = {
            "EDGEROUTER__SINKS__GCP_STORAGE__ENDPOINT": server.url,
            "EDGEROUTER__SINKS__GCP_STORAGE__TOKEN_URI": f"{identity.url}/token",
        }
        yield Service("gcp-storage", variables, tuning, (_middle_of_the_key(identity),), server.received)


def influxdb_variables(server: InfluxDbServer) -> dict[str, str]:
    """Return the variables of a test's InfluxDB."""
    return {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": TOKEN, "INFLUXDB_ORG": ORG, "INFLUXDB_BUCKET": BUCKET}


def _middle_of_the_key(identity: Identity) -> str:
    return pem(identity.key).splitlines()[10]


class EnvironmentRouter(RouterProcess):
    """A router process without a file; created by `environment_router`."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, {})
        self.file.unlink()
        self.variables = {
            **{name: os.environ[name] for name in _PASSED if name in os.environ},
            "EDGEROUTER__SPOOL__PATH": str(self.spool),
            **variables,
        }

    async def spawn(self) -> None:
        """Start without waiting."""
        await self._run(environment=self.variables, folder=self.folder)

    async def answer(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and output of another command in the same environment."""
        ended = await asyncio.to_thread(run, *arguments, environment=self.variables, folder=self.folder)
        return ended.returncode, ended.stdout + ended.stderr


@asynccontextmanager
async def environment_router(folder: Path, *variables: Mapping[str, str]) -> AsyncIterator[EnvironmentRouter]:
    """Yield a router process that is not started yet, and kill it at the end."""
    process = EnvironmentRouter(folder, {name: value for each in variables for name, value in each.items()})
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            await process.kill()


async def publish(port: int, payloads: Sequence[bytes], topic: str = "cloud-input", qos: int = 1) -> None:
    """Publish as a data source on the device does."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=qos)
