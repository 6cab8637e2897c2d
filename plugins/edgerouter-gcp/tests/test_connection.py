"""`check --connect` opens a sink and shows its error: each cause has its own text, and says what to do.

Covers also: edgerouter_gcp.errors, edgerouter_gcp.pubsub.access.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_context
from edgerouter_gcp.pubsub.sink import PubsubConfig, PubsubSink
from edgerouter_gcp.storage.config import StorageConfig
from edgerouter_gcp.storage.sink import StorageSink
from support.google.identity import Identity
from support.google.pubsub import GET, PubsubServer
from support.google.service import GoogleError
from support.google.storage import StorageServer

TOPIC = "projects/plant/topics/telemetry"
BUCKET = "plant-archive"


async def why_not_pubsub(server: PubsubServer, **fields: Any) -> Unavailable:
    config = PubsubConfig.model_validate({"topic": "telemetry", "endpoint": server.url, **fields})
    with pytest.raises(Unavailable) as caught:
        async with PubsubSink.open(config, make_context()):
            pass
    return caught.value


async def why_not_storage(server: StorageServer, **fields: Any) -> Unavailable:
    config = StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, **fields})
    with pytest.raises(Unavailable) as caught:
        async with StorageSink.open(config, make_context()):
            pass
    return caught.value


@pytest.fixture
def closed_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_missing_topic(pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]) -> None:
    pubsub.topics.clear()
    identity.grant(TOPIC, GET)
    error = await why_not_pubsub(pubsub, **account)
    assert isinstance(error, Unauthorized)
    assert str(error) == f"open {TOPIC}: there is no such topic; create it, or look at its name and project"


async def test_a_missing_role_on_a_topic_that_is_there(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    identity.revoke(TOPIC)
    identity.grant(TOPIC, GET)
    error = await why_not_pubsub(pubsub, **account)
    assert isinstance(error, Unauthorized)
    assert "publishing to it is not allowed: grant roles/pubsub.publisher on the topic to router@plant" in str(error)


async def test_no_role_at_all_on_a_topic_that_may_be_missing(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    """Google hides from strangers whether a topic is there."""
    identity.revoke(TOPIC)
    error = await why_not_pubsub(pubsub, **account)
    assert isinstance(error, Unauthorized)
    assert "grant roles/pubsub.publisher on the topic, which may also be missing, to router@plant" in str(error)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [("SERVICE_DISABLED", "enable the API in the project"), ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "the access scope cloud-platform")],
)
async def test_what_no_role_helps_against(pubsub: PubsubServer, account: Mapping[str, Any], reason: str, advice: str) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    pubsub.refuse_all = GoogleError(403, "No.", details=[detail])
    error = await why_not_pubsub(pubsub, **account)
    assert isinstance(error, Unauthorized)
    assert advice in str(error)
    assert "grant" not in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        GoogleError(400, "The topic is in a state that forbids this.", code="FAILED_PRECONDITION"),
        GoogleError(403, "Grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the Cloud KMS key to service-1@google."),
    ],
    ids=["not allowed now", "the key of Google's own account"],
)
async def test_no_role_is_named_that_would_not_help(pubsub: PubsubServer, account: Mapping[str, Any], answer: GoogleError) -> None:
    pubsub.refuse_all = answer
    error = await why_not_pubsub(pubsub, **account)
    assert isinstance(error, Unauthorized)
    assert "roles/pubsub.publisher" not in str(error)


async def test_a_broken_key(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    error = await why_not_pubsub(pubsub, **{**account, "private_key": account["private_key"][:-300]})
    assert isinstance(error, Unauthorized)
    assert "the private key is broken" in str(error)


async def test_an_unreachable_metadata_server(pubsub: PubsubServer, monkeypatch: pytest.MonkeyPatch, closed_address: str) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", closed_address)
    error = await why_not_pubsub(pubsub, project="plant")
    assert not isinstance(error, Unauthorized)
    assert "no credentials are configured, and the metadata server" in str(error)
    assert "set credentials_file" in str(error)


async def test_an_unreachable_metadata_server_that_should_name_the_project(
    pubsub: PubsubServer, monkeypatch: pytest.MonkeyPatch, closed_address: str
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", closed_address)
    error = str(await why_not_pubsub(pubsub))
    assert "which project?" in error
    assert "the metadata server at" in error
    assert "set credentials_file" in error


async def test_a_project_that_is_configured_nowhere(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    error = await why_not_pubsub(pubsub, **{**account, "project": None})
    assert str(error) == "which project? set `project`"


async def test_an_unreachable_service(pubsub: PubsubServer, account: Mapping[str, Any], closed_address: str) -> None:
    error = await why_not_pubsub(pubsub, **{**account, "endpoint": f"http://{closed_address}"})
    assert not isinstance(error, Unauthorized)
    assert "Cannot connect" in str(error)


async def test_a_missing_topic_on_an_emulator() -> None:
    async with PubsubServer().running() as server:
        error = await why_not_pubsub(server, anonymous=True, project="plant")
    assert "there is no such topic" in str(error)


async def test_a_missing_bucket(storage: StorageServer, account: Mapping[str, Any]) -> None:
    storage.buckets.clear()
    error = await why_not_storage(storage, **account)
    assert isinstance(error, Unauthorized)
    assert str(error) == f"open bucket {BUCKET}: there is no such bucket; create it, or look at its name"


async def test_a_missing_role_on_a_bucket(storage: StorageServer, identity: Identity, account: Mapping[str, Any]) -> None:
    identity.revoke(BUCKET)
    error = await why_not_storage(storage, **account)
    assert isinstance(error, Unauthorized)
    assert "grant roles/storage.objectCreator on the bucket to router@plant" in str(error)


async def test_an_unreachable_metadata_server_for_storage(
    storage: StorageServer, monkeypatch: pytest.MonkeyPatch, closed_address: str
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", closed_address)
    assert "the metadata server" in str(await why_not_storage(storage))
