"""Without a file, the variables of balena's cloud block make the configuration that its users had.

Covers also: edgerouter.sinks.influxdb.variables.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from edgerouter.sources.mqtt.config import MqttSourceConfig
from support.cloud_variables import (
    BLOB,
    EVENT_HUBS,
    IDS,
    INFLUXDB,
    PUBSUB,
    ROWS,
    S3,
    SQS,
    STORAGE,
    STRING,
    load,
    only_sink,
    problems,
)


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
