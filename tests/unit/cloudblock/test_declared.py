"""Sources, secret stores and sinks of other distributions come from the variables that they declare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgerouter import ConfigurationError
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.topics import matches
from support.cloud_variables import EVENT_HUBS, GOOGLE, KEYS, PUBSUB, S3, SQS, account, load, only_sink, problems
from support.distributions import install, on_path


class TestReverse:
    """Messages from the cloud to the broker, when a topic for them is set."""

    @pytest.mark.parametrize("name", ["RELAY_IN_TOPIC", "LOCAL_MQTT_OUTPUT_TOPIC"])
    def test_each_service_that_can_be_received_from_becomes_a_source_of_one_sink(self, name: str) -> None:
        subscription = {"GCP_PUBSUB_SUBSCRIPTION": "commands"}
        config = load({**SQS, **S3, **EVENT_HUBS, **PUBSUB, **subscription, name: "commands/{in}", "MQTT_HOST": "broker"})
        assert config.off == ()
        receivers = {source.name: source.config.model_dump() for source in config.sources if source.name != "local"}
        assert {receiver: source["topic"] for receiver, source in receivers.items()} == {
            each: f"$relay-in/{each}" for each in ("aws-sqs", "azure-event-hubs", "gcp-pubsub")
        }
        (sink,) = [sink for sink in config.sinks if sink.name == "relay-in"]
        assert sink.type == "mqtt"
        assert isinstance(sink.config, MqttSinkConfig)
        assert (sink.config.topic, sink.config.url) == ("commands/{{in}}", "broker")
        assert [sink.name for sink in config.sinks if any(matches(each, "$relay-in/aws-sqs") for each in sink.policies.topics)] == [
            "relay-in"
        ]
        assert not any(matches(each, "cloud-input") for each in sink.policies.topics)

    def test_without_a_topic_nothing_is_received(self) -> None:
        config = load({**PUBSUB, "GCP_PUBSUB_SUBSCRIPTION": "x", "EDGEROUTER__SOURCES__GCP_PUBSUB__ENDPOINT": "http://localhost:1"})
        assert [source.name for source in config.sources] == ["local"]

    def test_the_hub_takes_a_consumer_group_and_a_place_for_checkpoints(self) -> None:
        names = ("STORAGE_ACCOUNT", "STORAGE_ACCOUNT_KEY", "CONTAINER_NAME")
        whole = {f"AZURE_EH_{name}": value for name, value in zip(names, ("plantstore", "geheim", "checkpoints"), strict=True)}
        wanted = {**EVENT_HUBS, "RELAY_IN_TOPIC": "commands", "AZURE_EH_CONSUMER_GROUP": "edge"}
        (source,) = [source.config.model_dump() for source in load({**wanted, **whole}).sources if source.name != "local"]
        assert (source["consumer_group"], source["skip_own"]) == ("edge", True)
        assert (source["checkpoint_store"]["account"], source["checkpoint_store"]["container"]) == ("plantstore", "checkpoints")
        del whole["AZURE_EH_CONTAINER_NAME"]
        (source,) = [source.config.model_dump() for source in load({**wanted, **whole}).sources if source.name != "local"]
        assert source["checkpoint_store"] is None

    def test_a_service_that_is_only_sent_to_is_not_a_fault_beside_one_that_is_received_from(self) -> None:
        config = load({**SQS, **PUBSUB, "RELAY_IN_TOPIC": "commands"})
        assert config.off == ()
        assert sorted(source.name for source in config.sources) == ["aws-sqs", "local"]

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            (PUBSUB, "RELAY_IN_TOPIC is set, but gcp-pubsub needs GCP_PUBSUB_SUBSCRIPTION"),
            (S3, "RELAY_IN_TOPIC is set, but no service is set up that can be received from"),
        ],
    )
    def test_one_line_says_why_nothing_is_received(self, variables: dict[str, str], told: str) -> None:
        (line,) = load({**variables, "RELAY_IN_TOPIC": "commands"}).off
        assert line.endswith(told)

    @pytest.mark.parametrize("forward", ["commands", "#", "+"])
    def test_a_loop_over_the_broker_is_refused(self, forward: str) -> None:
        config = load({**SQS, "RELAY_IN_TOPIC": "commands", "RELAY_OUT_TOPIC": forward})
        (line,) = config.off
        assert f"which {forward!r} would send to the cloud again" in line
        assert [source.name for source in config.sources] == ["local"]


class TestSecretStoreVariables:
    @pytest.mark.parametrize(
        ("variables", "credential"),
        [
            (
                {"AZURE_VAULT_TENANT_ID": "t", "AZURE_VAULT_CLIENT_ID": "c", "AZURE_VAULT_CERTIFICATE_FILE": "/c.pem"},
                {"type": "certificate", "tenant_id": "t", "client_id": "c", "certificate_file": "/c.pem"},
            ),
            (
                {"AZURE_VAULT_TENANT_ID": "t", "AZURE_VAULT_CLIENT_ID": "c", "AZURE_VAULT_CLIENT_SECRET": "geheim"},
                {"type": "client-secret", "tenant_id": "t", "client_id": "c", "client_secret": "geheim"},
            ),
            ({}, {"type": "managed-identity"}),
            ({"AZURE_VAULT_CLIENT_ID": "c"}, {"type": "managed-identity", "client_id": "c"}),
        ],
    )
    def test_a_key_vault_is_entered_in_three_ways(self, variables: dict[str, str], credential: dict[str, str]) -> None:
        config = load({**SQS, "AZURE_VAULT_NAME": "plant-secrets", **variables})
        store = next(store for store in config.secret_stores if store.name == "azure-keyvault")
        assert dict(store.raw) == {"vault": "plant-secrets", "credential": credential}
        assert config.off == ()

    def test_a_key_vault_without_a_way_in_is_off_and_says_so(self) -> None:
        config = load({**SQS, "AZURE_VAULT_NAME": "v", "AZURE_VAULT_TENANT_ID": "t", "AZURE_VAULT_CLIENT_ID": "c"})
        (line,) = config.off
        assert line.startswith("secret store azure-keyvault is off: ")
        assert "AZURE_VAULT_CERTIFICATE_FILE is missing" in line
        assert config.secret_stores == ()

    def test_the_other_two_stores(self) -> None:
        aws = {"AWS_SECRETSMGR_REGION": "eu-west-1", "AWS_SECRETSMGR_ACCESS_KEY": "AKIA", "AWS_SECRETSMGR_SECRET_KEY": "geheim"}
        stores = {store.name: dict(store.raw) for store in load({**SQS, **aws, **account("GCP_SECRETMGR")}).secret_stores}
        assert stores["aws-secrets-manager"] == KEYS
        assert stores["gcp-secret-manager"] == GOOGLE

    def test_the_order_of_the_stores_can_be_stated(self) -> None:
        aws = {"AWS_SECRETSMGR_REGION": "eu-west-1", "AWS_SECRETSMGR_ACCESS_KEY": "AKIA", "AWS_SECRETSMGR_SECRET_KEY": "geheim"}
        both = {**SQS, **aws, "AZURE_VAULT_NAME": "plant-secrets"}

        def order(**more: str) -> list[str]:
            chain = load({**both, **more}).secret_stores[-1]
            return [store.name for store in chain.config.stores]  # type: ignore[attr-defined]

        assert order() == ["aws-secrets-manager", "azure-keyvault"]
        assert order(EDGEROUTER_SECRET_STORE_ORDER="azure-keyvault") == ["azure-keyvault", "aws-secrets-manager"]
        assert problems({**both, "EDGEROUTER_SECRET_STORE_ORDER": "vault"})[0].startswith(
            "EDGEROUTER_SECRET_STORE_ORDER: vault: no such"
        )


class TestThirdParties:
    CODE = """
        from edgerouter.variables import Variable, Variables
        VARIABLES = (Variables("sink", "stdout", (Variable(("ACME_PREFIX",), None),)),)
        """

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Path]:
        with on_path(tmp_path):
            yield tmp_path

    def test_another_distribution_takes_part(self, site: Path) -> None:
        install(site, "acme", "acme_module", self.CODE, {"edgerouter.variables": {"acme": "{module}:VARIABLES"}})
        assert only_sink(load({"ACME_PREFIX": "x"})).type == "stdout"

    @pytest.mark.parametrize(("code", "reason"), [("VARIABLES = 1", "not a tuple"), ("1/0", "ZeroDivisionError")])
    def test_a_broken_declaration_is_named_with_its_owner(self, site: Path, code: str, reason: str) -> None:
        install(site, "acme", "acme_module", code, {"edgerouter.variables": {"acme": "{module}:VARIABLES"}})
        with pytest.raises(ConfigurationError, match=rf"the variables of acme 1\.0 .*{reason}"):
            load(SQS)
