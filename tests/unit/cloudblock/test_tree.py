"""Without a file, the variables of balena's cloud block make the configuration that its users had.

Covers also: edgerouter.sinks.influxdb.variables.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import ConfiguredSink, RouterConfig
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.topics import matches
from support.distributions import install, on_path

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


@pytest.mark.parametrize(("name", "variables", "raw"), ROWS, ids=IDS)
def test_all_variables_of_a_sink_switch_it_on(name: str, variables: dict[str, str], raw: dict[str, Any]) -> None:
    config = load(variables)
    sink = only_sink(config)
    assert (sink.name, sink.type, dict(sink.raw), sink.policies.topics) == (name, name, raw, ("#",))
    assert sink.policies.concurrency == (16 if "framing" in raw else 1), "an object for each message costs a round trip each"
    assert config.off == ()
    (source,) = config.sources
    assert source.type == "mqtt"
    assert isinstance(source.config, MqttSourceConfig)
    assert (source.config.url, list(source.config.subscriptions)) == ("mqtt://localhost:1883", ["cloud-input", "cloud-block-input"])


@pytest.mark.parametrize(("name", "variables", "raw"), ROWS, ids=IDS)
def test_each_variable_that_is_missing_alone_is_named_and_the_others_go_on(
    name: str, variables: dict[str, str], raw: dict[str, Any]
) -> None:
    other = INFLUXDB if name != "influxdb" else SQS
    for missing in variables if len(variables) > 1 else ():
        left = {key: value for key, value in variables.items() if key != missing}
        config = load({**left, **other})
        assert only_sink(config).name != name
        (line,) = config.off
        there = sorted(left)
        listed = f"{', '.join(there[:-1])} and {there[-1]} are set" if len(there) > 1 else f"{there[0]} is set"
        assert line == f"sink {name} is off: {listed}, {missing} is missing"
        assert "geheim" not in line


def test_none_set_is_off_without_a_word() -> None:
    assert load(SQS).off == ()
    assert [sink.name for sink in load(SQS).sinks] == ["aws-sqs"]


def test_all_sinks_can_be_on_at_once() -> None:
    everything: dict[str, str] = {}
    for _, variables, _ in ROWS:
        everything |= variables
    assert sorted(sink.name for sink in load(everything).sinks) == sorted(IDS)


def test_nothing_but_a_partial_sink_says_what_is_missing_and_does_not_start() -> None:
    assert problems({"AWS_S3_BUCKET": "b", "AWS_S3_REGION": "eu-west-1"})[0] == (
        "environment: sink aws-s3 is off: AWS_S3_BUCKET and AWS_S3_REGION are set,"
        " AWS_S3_ACCESS_KEY and AWS_S3_SECRET_KEY are missing"
    )


@pytest.mark.parametrize("variable", ["AZURE_EH_CONSUMER_GROUP", "AZURE_EH_STORAGE_ACCOUNT_KEY", "GCP_PUBSUB_SUBSCRIPTION"])
def test_what_is_for_receiving_is_accepted_and_not_demanded(variable: str) -> None:
    config = load({**EVENT_HUBS, **PUBSUB, variable: "x"})
    assert [sink.name for sink in config.sinks] == ["azure-event-hubs", "gcp-pubsub"]
    assert config.off == ()


class TestOlderNames:
    def test_the_oldest_keys_serve_both_aws_sinks(self) -> None:
        keys = {"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_KEY": "geheim"}
        names = ("AWS_SQS_QUEUE_NAME", "AWS_SQS_REGION", "AWS_S3_BUCKET", "AWS_S3_REGION")
        config = load({**keys, **{name: (SQS | S3)[name] for name in names}})
        assert [dict(sink.raw) for sink in config.sinks] == [ROWS[0][2], ROWS[1][2]]

    def test_the_oldest_keys_alone_ask_for_no_sink(self) -> None:
        config = load({"AWS_ACCESS_KEY": "AKIA", "AWS_SECRET_KEY": "geheim", **INFLUXDB})
        assert (only_sink(config).name, config.off) == ("influxdb", ())

    def test_the_newer_key_wins(self) -> None:
        sink = only_sink(load({**SQS, "AWS_ACCESS_KEY": "old", "AWS_SECRET_KEY": "old"}))
        assert (sink.raw["access_key_id"], sink.raw["secret_access_key"]) == ("AKIA", "geheim")

    def test_the_connection_string_may_be_written_in_two_words(self) -> None:
        assert only_sink(load({"AZURE_EH_CONNECTION_STRING": STRING})).raw["connection_string"] == STRING

    def test_cloud_storage_was_called_blob(self) -> None:
        old = {name.replace("GCP_STORAGE", "GCP_BLOB"): value for name, value in STORAGE.items()}
        assert dict(only_sink(load(old)).raw) == ROWS[5][2]


class TestTopicAndBroker:
    def source(self, **variables: str) -> Any:
        (source,) = load({**INFLUXDB, **variables}).sources
        return source.config

    def test_the_newest_name_of_the_topic_wins(self) -> None:
        names = ["CLOUD_BLOCK_INPUT_TOPIC", "MQTT_INPUT_TOPIC", "LOCAL_MQTT_INPUT_TOPIC", "RELAY_OUT_TOPIC"]
        variables: dict[str, str] = {}
        for name in names:
            variables[name] = f"from/{name}"
            assert list(self.source(**variables).subscriptions) == [f"from/{name}"]

    @pytest.mark.parametrize("name", ["LOCAL_MQTT_HOST", "MQTT_HOST"])
    def test_the_broker_is_a_bare_host_or_a_url_with_credentials(self, name: str) -> None:
        assert str(self.source(**{name: "broker"}).address) == "broker:1883"
        source = self.source(**{name: "mqtts://edge:geheim@broker.local"})
        assert (str(source.address), source.address.tls) == ("broker.local:8883", True)
        assert (source.username, source.password.get_secret_value()) == ("edge", "geheim")

    def test_the_newer_name_of_the_broker_wins(self) -> None:
        assert self.source(MQTT_HOST="old", LOCAL_MQTT_HOST="new").address.host == "new"

    def test_a_source_of_ones_own_takes_the_place_of_the_default_one(self) -> None:
        own = {"EDGEROUTER__SOURCES__PLANT__TYPE": "mqtt", "EDGEROUTER__SOURCES__PLANT__TOPICS": '["a/#"]'}
        own["EDGEROUTER__SOURCES__PLANT__URL"] = "mqtt://plant"
        assert [source.name for source in load({**SQS, **own}).sources] == ["plant"]
        assert sorted(source.name for source in load({**SQS, **own, "RELAY_OUT_TOPIC": "x"}).sources) == ["local", "plant"]

    @pytest.mark.parametrize("name", ["CLOUD_BLOCK_DEBUG", "DAPR_DEBUG"])
    @pytest.mark.parametrize("value", ["1", "0", "false", "anything"])
    def test_any_value_of_debug_means_debug(self, name: str, value: str) -> None:
        assert load({**SQS, name: value}).log.level == "debug"
        assert load({**SQS, name: ""}).log.level == "info"


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


class TestMixing:
    def test_our_own_variables_change_what_the_old_ones_made(self) -> None:
        config = load(
            {
                **SQS,
                "EDGEROUTER__SINKS__AWS_SQS__BATCH__LINGER": "2s",
                "EDGEROUTER__SINKS__AWS_SQS__ENDPOINT_URL": "http://localhost:1",
                "EDGEROUTER__SOURCES__LOCAL__QOS": "2",
                "EDGEROUTER__SPOOL__PATH": "/data",
            }
        )
        sink = only_sink(config)
        assert (sink.policies.batch.linger, sink.raw["endpoint_url"]) == (2.0, "http://localhost:1")
        assert config.sources[0].config.qos == 2  # type: ignore[attr-defined]
        assert config.spool.path == Path("/data")

    def test_our_own_variable_may_give_what_the_old_ones_lack(self) -> None:
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_REGION"}
        config = load({**left, "EDGEROUTER__SINKS__AWS_SQS__REGION": "eu-north-1"})
        assert (only_sink(config).raw["region"], config.off) == ("eu-north-1", ())

    def test_our_own_variables_alone_switch_a_sink_on_or_say_what_is_missing(self) -> None:
        """Users need not know which of the two names a value goes by."""
        own = {f"EDGEROUTER__SINKS__AWS_SQS__{field.upper()}": value for field, value in ROWS[0][2].items()}
        assert only_sink(load({**own, "RELAY_OUT_TOPIC": "x"})).raw == ROWS[0][2]
        del own["EDGEROUTER__SINKS__AWS_SQS__REGION"], own["EDGEROUTER__SINKS__AWS_SQS__ACCESS_KEY_ID"]
        config = load({**own, **INFLUXDB})
        (line,) = config.off
        assert line == (
            "sink aws-sqs is off: EDGEROUTER__SINKS__AWS_SQS__QUEUE and EDGEROUTER__SINKS__AWS_SQS__SECRET_ACCESS_KEY are set,"
            " AWS_SQS_REGION and AWS_SQS_ACCESS_KEY are missing"
        )
        assert only_sink(config).name == "influxdb"

    def test_one_underscore_too_few_is_reported(self) -> None:
        (line,) = problems({**SQS, "EDGEROUTER_SPOOL__MAX_BYTES": "1GiB", "EDGEROUTER_PORT_8080_TCP": "tcp://10.0.0.1:8080"})
        assert line.startswith(
            "EDGEROUTER_SPOOL__MAX_BYTES: means nothing; a variable of the configuration begins with EDGEROUTER__"
        )

    def test_a_dash_and_an_underscore_name_the_same_sink(self) -> None:
        own = {"EDGEROUTER__SINKS__plant-log__TYPE": "stdout", "EDGEROUTER__SINKS__PLANT_LOG__FRAMING": "raw-lines"}
        assert only_sink(load({**own, "RELAY_OUT_TOPIC": "x"})).raw == {"framing": "raw-lines"}

    def test_a_list_that_is_none_is_reported_how_it_is_written(self) -> None:
        (line,) = problems({**SQS, "EDGEROUTER__SINKS__AWS_SQS__TOPICS": "a/b,c/#"})
        assert line.endswith("""sinks.aws-sqs.topics: should be a list in JSON, such as '["a/b", "c/#"]'""")

    def test_without_any_sink_both_ways_to_set_one_up_are_named(self) -> None:
        (line,) = problems({"RELAY_OUT_TOPIC": "x", "EDGEROUTER__SINKS__AWS_SQS__BATCH__LINGER": "1s"})
        assert line.startswith("environment: sinks: at least one sink is needed; there is no edgerouter.yaml here")
        assert line.endswith("no variables set one up, neither EDGEROUTER__SINKS__..., nor those of a plugin")

    def test_tuning_of_a_sink_that_is_off_stops_nothing(self) -> None:
        config = load({**SQS, "AWS_S3_BUCKET": "b", "EDGEROUTER__SINKS__AWS_S3__BATCH__LINGER": "1s"})
        assert only_sink(config).name == "aws-sqs"
        assert len(config.off) == 1

    def test_a_file_says_everything_so_the_old_variables_count_for_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "edgerouter.yaml"
        file.write_text("sources: {s: {type: mqtt, url: mqtt://b, topics: [a]}}\nsinks: {k: {type: stdout}}\n")
        config = plugins.load(file, {**SQS, "RELAY_OUT_TOPIC": "x"})
        assert ([sink.name for sink in config.sinks], len(config.sources)) == (["k"], 1)

    def test_a_variable_is_taken_as_it_stands(self) -> None:
        """A secret with `${` in it is not a reference."""
        sink = only_sink(load({**SQS, "AWS_SQS_SECRET_KEY": "a${env:HOME}$${b"}))
        assert sink.raw["secret_access_key"] == "a${env:HOME}$${b"

    def test_an_empty_variable_counts_as_not_set(self) -> None:
        assert load({**SQS, "AWS_S3_BUCKET": " ", "AWS_S3_REGION": ""}).off == ()

    def test_files_of_the_secrets_folder_stand_for_variables(self, tmp_path: Path) -> None:
        (tmp_path / "aws_sqs_secret_key").write_text("from-file\n")
        (tmp_path / "EDGEROUTER__SPOOL__MAX_BYTES").write_text("2GiB\n")
        (tmp_path / "AWS_SQS_REGION").write_text("never: the variable wins\n")
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_SECRET_KEY"}
        config = load({**left, "EDGEROUTER_SECRETS_DIR": str(tmp_path)})
        assert only_sink(config).raw == {**ROWS[0][2], "secret_access_key": "from-file"}
        assert config.spool.max_bytes == 2 * 1024**3
        assert config.origins["sinks.aws-sqs.secret_access_key"] == f"{tmp_path}/AWS_SQS_SECRET_KEY"

    def test_other_files_of_the_secrets_folder_are_let_be(self, tmp_path: Path) -> None:
        """Kubernetes puts links and folders of its own there, and certificates lie beside passwords."""
        (tmp_path / "..2026_11_21").mkdir()
        (tmp_path / "..2026_11_21" / "AWS_SQS_SECRET_KEY").write_text("from-file\n")
        (tmp_path / "..data").symlink_to("..2026_11_21")
        (tmp_path / "AWS_SQS_SECRET_KEY").symlink_to("..data/AWS_SQS_SECRET_KEY")
        (tmp_path / "vault.p12").write_bytes(b"\xff\xfe")
        (tmp_path / "certificate").write_bytes(b"\xff\xfe")
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_SECRET_KEY"}
        config = load({**left, "EDGEROUTER_SECRETS_DIR": str(tmp_path)})
        assert only_sink(config).raw == {**ROWS[0][2], "secret_access_key": "from-file"}

    def test_a_secrets_folder_that_is_not_there_is_reported(self, tmp_path: Path) -> None:
        assert problems({**SQS, "EDGEROUTER_SECRETS_DIR": str(tmp_path / "x")}) == [
            f"EDGEROUTER_SECRETS_DIR: {tmp_path / 'x'} is not there"
        ]


@pytest.mark.parametrize("name", ["AWS_SQS_REGION", "AWS_SQS_SECRET_KEY", "MQTT_HOST"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_a_compose_file_left_around_a_value_are_reported(name: str, quote: str) -> None:
    """`- NAME="value"` in a list of compose, and every quote in a file of `docker run --env-file`, is part of the value."""
    lines = problems({**SQS, name: f"{quote}geheim{quote}\n"})
    assert f"{name}: stands in quotes, which are part of the value; write it without them" in lines
    assert "geheim" not in " ".join(lines)
    assert load({**PUBSUB, "GCP_PUBSUB_PRIVATE_KEY": f"{quote}{PUBSUB['GCP_PUBSUB_PRIVATE_KEY']}{quote}"}).off == ()


def test_a_value_that_cannot_be_is_named_by_its_variable_and_not_shown() -> None:
    lines = problems({**BLOB, "AZURE_BLOB_CONTAINER_NAME": "Not A Container"})
    assert lines[0].startswith("AZURE_BLOB_CONTAINER_NAME: sinks.azure-blob.container: ")
    lines = problems({**PUBSUB, "GCP_PUBSUB_TYPE": "authorized_user"})
    assert lines == ["GCP_PUBSUB_TYPE: should be service_account"]
    lines = problems({"AZURE_EH_CONNECTIONSTRING": "geheim"})
    assert len(lines) == 1
    assert "geheim" not in lines[0]


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


def test_no_sdk_is_imported_for_a_sink_that_is_off() -> None:
    """Not even while secret stores do not say yet whether it is on."""
    code = (
        "import sys, json; from edgerouter import plugins; from edgerouter.cloudblock.start import CloudBlock\n"
        "for environ in json.loads(sys.argv[1]): CloudBlock(environ).load(plugins)\n"
        "print([name for name in ('aiobotocore', 'azure.storage', 'azure.eventhub', 'gcloud', 'pyarrow') if name in sys.modules])"
    )
    for environs, expected in (((INFLUXDB, {"AZURE_VAULT_NAME": "plant-secrets"}), []), ((SQS,), ["aiobotocore"])):
        arguments = [sys.executable, "-c", code, json.dumps(environs)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == str(expected)
