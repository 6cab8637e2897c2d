"""Every way to say who we are leads to an access token, and every broken one says what is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from edgerouter import Unauthorized
from edgerouter.testing import make_context, make_message
from edgerouter_gcp.credentials import Credentials, load_credentials
from edgerouter_gcp.pubsub.sink import PubsubConfig, PubsubSink
from support.google.identity import ACCOUNT, MACHINE, Identity, new_key, pem
from support.google.pubsub import PUBLISH, PubsubServer

TOPIC = "projects/plant/topics/telemetry"
OTHER = "other@plant.iam.gserviceaccount.com"


async def publish(server: PubsubServer, **fields: Any) -> None:
    config = PubsubConfig.model_validate({"topic": "telemetry", "endpoint": server.url, **fields})
    async with PubsubSink.open(config, make_context()) as sink:
        await sink.write([make_message()])
    assert len(server.topics[TOPIC].messages) == 1


def written(path: Path, data: Mapping[str, Any]) -> str:
    path.write_text(json.dumps(data))
    return str(path)


async def test_a_key_file_is_enough(pubsub: PubsubServer, identity: Identity, tmp_path: Path) -> None:
    await publish(pubsub, credentials_file=written(tmp_path / "key.json", identity.service_account()))
    assert identity.issued == [ACCOUNT]
    assert identity.scopes == ["https://www.googleapis.com/auth/pubsub"]


async def test_the_content_of_a_key_file_is_enough(pubsub: PubsubServer, identity: Identity) -> None:
    await publish(pubsub, credentials_json=json.dumps(identity.service_account()))


@pytest.mark.parametrize(
    "damage", [lambda key: key, lambda key: key.replace("\n", "\\n"), lambda key: f'"{key}"', lambda key: key.strip()]
)
async def test_an_inline_key_survives_environment_variables(pubsub: PubsubServer, identity: Identity, damage: Any) -> None:
    key = damage(pem(identity.key))
    await publish(pubsub, project="plant", client_email=ACCOUNT, private_key=key, token_uri=f"{identity.url}/token")


async def test_application_default_credentials_are_found_by_their_variable(
    pubsub: PubsubServer, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", written(tmp_path / "key.json", identity.service_account()))
    await publish(pubsub)


async def test_gclouds_own_login_is_found(
    pubsub: PubsubServer, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "client-secret",
        "refresh_token": identity.refresh_token,
        "token_uri": f"{identity.url}/token",
        "quota_project_id": "plant",
    }
    (tmp_path / "gcloud").mkdir()
    written(tmp_path / "gcloud" / "application_default_credentials.json", login)
    await publish(pubsub)
    assert {request.headers.get("X-Goog-User-Project") for request in pubsub.seen} == {"plant"}, "a person's quota is a project's"


async def test_a_login_that_has_ended_is_not_called_a_broken_key(pubsub: PubsubServer, identity: Identity) -> None:
    login = {"type": "authorized_user", "client_id": "client", "client_secret": "other", "refresh_token": "ended"}
    content = json.dumps({**login, "token_uri": f"{identity.url}/token"})
    with pytest.raises(Unauthorized, match=r"invalid_grant.*gcloud auth application-default login") as caught:
        await publish(pubsub, project="plant", credentials_json=content)
    assert "private key" not in str(caught.value)


async def test_a_machine_of_google_needs_nothing(pubsub: PubsubServer, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", identity.host)
    identity.grant(TOPIC, PUBLISH, to=MACHINE)
    await publish(pubsub)
    assert identity.issued == [MACHINE]


@pytest.mark.parametrize("source", ["file", "typed file", "url"])
async def test_workload_identity_needs_no_key(pubsub: PubsubServer, identity: Identity, tmp_path: Path, source: str) -> None:
    """A token of another identity provider is exchanged for one of Google's, which impersonates the account."""
    (tmp_path / "subject").write_text(identity.subject_token)
    file = {"file": str(tmp_path / "subject")}
    sources = {"file": file, "typed file": {"type": "file", **file}, "url": {"url": f"{identity.url}/subject"}}
    external = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{identity.url}/v1/token",
        "service_account_impersonation_url": f"{identity.url}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken",
        "credential_source": sources[source],
    }
    identity.impersonators.add(("principal://pool/device", ACCOUNT))
    await publish(pubsub, project="plant", credentials_file=written(tmp_path / "external.json", external))
    assert identity.issued == ["principal://pool/device", ACCOUNT]


async def test_a_token_of_workload_identity_that_is_not_there_is_named(pubsub: PubsubServer, tmp_path: Path) -> None:
    external = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    with pytest.raises(Unauthorized, match=f"workload identity from {tmp_path}/subject"):
        await publish(pubsub, project="plant", credentials_json=json.dumps(external))


async def test_an_account_acts_as_another(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = identity.url + "/v1/projects/-/serviceAccounts/{service_account}:generateAccessToken"
    monkeypatch.setattr("gcloud.aio.auth.token.GCLOUD_ENDPOINT_GENERATE_ACCESS_TOKEN", here)
    identity.grant(TOPIC, PUBLISH, to=OTHER)
    with pytest.raises(Unauthorized, match=rf"grant roles/iam\.serviceAccountTokenCreator on {OTHER} to {ACCOUNT}"):
        await publish(pubsub, **account, impersonate=OTHER)
    identity.impersonators.add((ACCOUNT, OTHER))
    await publish(pubsub, **account, impersonate=OTHER, delegates=["between@plant.iam.gserviceaccount.com"])
    assert identity.scopes[-2:] == ["https://www.googleapis.com/auth/iam", "https://www.googleapis.com/auth/pubsub"]
    assert identity.delegates == ["projects/-/serviceAccounts/between@plant.iam.gserviceaccount.com"]


@pytest.mark.parametrize("broken", ["-----BEGIN PRIVATE KEY-----\nMIIEv\n-----END PRIVATE KEY-----\n", "not a key at all"])
async def test_a_broken_key_is_reported_without_a_request(pubsub: PubsubServer, identity: Identity, broken: str) -> None:
    with pytest.raises(Unauthorized, match="the private key is broken") as caught:
        await publish(pubsub, project="plant", client_email=ACCOUNT, private_key=broken, token_uri=f"{identity.url}/token")
    assert "MIIEv" not in str(caught.value)
    assert identity.issued == []


async def test_the_error_of_a_key_unknown_to_google_names_the_likely_causes(
    pubsub: PubsubServer, account: Mapping[str, Any]
) -> None:
    with pytest.raises(
        Unauthorized, match=r"invalid_grant Invalid JWT Signature.*revoked or another account's, or the device's clock"
    ):
        await publish(pubsub, **{**account, "private_key": pem(new_key())})


async def test_a_wrong_clock_is_reported(pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]) -> None:
    identity.seconds_ahead = 50 * 365 * 86400
    with pytest.raises(Unauthorized, match=r"reasonable timeframe.*the device's clock is wrong"):
        await publish(pubsub, **account)


async def test_a_machine_without_an_account_is_reported(
    pubsub: PubsubServer, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", identity.host)
    identity.is_a_machine = False
    with pytest.raises(Unauthorized, match="attach a service account to this machine"):
        await publish(pubsub)


def load(**fields: Any) -> Credentials:
    return load_credentials(PubsubConfig.model_validate({"topic": "t", **fields}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"type": "gdch_service_account"}', "type 'gdch_service_account'; edgerouter can use service_account"),
        ('{"type": "service_account", "client_email": "a@b"}', "without private_key"),
        (
            (
                '{"type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "u", '
                '"credential_source": {"executable": {"command": "x"}}}'
            ),
            "neither from a file nor from a URL",
        ),
        (
            (
                '{"type": "impersonated_service_account", "service_account_impersonation_url": "u", '
                '"source_credentials": {"type": "service_account"}}'
            ),
            "with `impersonate` in the configuration",
        ),
    ],
)
def test_a_credentials_file_that_cannot_be_used_says_why(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(Unauthorized, match=reason):
        load(credentials_file=str(path))


def test_a_credentials_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unauthorized, match=r"missing\.json cannot be read"):
        load(credentials_file=str(tmp_path / "missing.json"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "elsewhere.json"))
    with pytest.raises(Unauthorized, match=r"elsewhere\.json cannot be read"):
        load()


@pytest.mark.parametrize("home", [None, "locked"])
def test_an_account_without_a_home_asks_the_metadata_server(tmp_path: Path, home: str | None) -> None:
    """As in a container with an arbitrary user id, or with the HOME of another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "CLOUDSDK_CONFIG")}
    if home is not None:
        (tmp_path / home).mkdir(mode=0o700)
        environment["HOME"] = str(tmp_path / home)
    code = (
        "import os; from edgerouter_gcp.credentials import GoogleFields, load_credentials; os.setuid(54321); "
        "print(load_credentials(GoogleFields()).origin)"
    )
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout == "the metadata server\n", said.stderr


def test_credentials_do_not_show_themselves(key: rsa.RSAPrivateKey) -> None:
    loaded = load(client_email=ACCOUNT, private_key=pem(key))
    assert repr(loaded) == "Credentials(origin='private_key')"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"client_email": ACCOUNT}, "belong together"),
        ({"credentials_file": "a", "credentials_json": "{}"}, "exclude each other"),
        ({"anonymous": True, "credentials_file": "a"}, "exclude each other"),
        ({"delegates": ["a@b"]}, "delegates need impersonate"),
        ({"endpoint": "http://pubsub.example.com"}, "plain http"),
        ({"endpoint": "pubsub.example.com"}, "endpoint"),
    ],
)
def test_contradictions_are_found_when_the_configuration_is_read(fields: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PubsubConfig.model_validate({"topic": "t", **fields})
