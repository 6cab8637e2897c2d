"""An environment variable that was meant for the router and is not read is reported; those of other programs are not.

Covers also: edgerouter.cloudblock.cloud_variables, edgerouter.cloudblock.declared, edgerouter.config.misspelt,
edgerouter.variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edgerouter import ConfigurationError, plugins
from edgerouter.cli.main import app
from edgerouter.cloudblock import cloud_variables, declared
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.cloudblock.unread import not_installed
from edgerouter.extras import install_command
from edgerouter.variables import Preset, Variables

INFLUXDB = {
    "INFLUXDB_URL": "http://influx:8086",
    "INFLUXDB_TOKEN": "geheim",
    "INFLUXDB_ORG": "plant",
    "INFLUXDB_BUCKET": "readings",
}
ORDINARY = (
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_CA_BUNDLE", "AWS_S3_ENDPOINT", "AWS_ROLE_ARN", "AWS_CONFIG_FILE"),
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_CONNECTION_STRING"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCP_PROJECT", "GCP_PROJECT_ID", "PUBSUB_EMULATOR_HOST"),
    *("MQTT_PORT", "MQTT_USER", "MQTT_PASSWORD", "MQTT_TOPIC", "MQTT_QOS", "MQTT_SERVICE_HOST", "LOCAL_MQTT_PORT"),
    *("INFLUXDB_DB", "INFLUXDB_USER", "INFLUXDB_HTTP_AUTH_ENABLED", "INFLUXDB_ADMIN_TOKEN", "DOCKER_INFLUXDB_INIT_MODE"),
    *("BALENA_DEVICE_UUID", "BALENA_SUPERVISOR_ADDRESS", "RESIN", "PATH", "HOME", "HOSTNAME", "LANG", "TZ", "TERM", "PWD", "_"),
    *("HTTP_PROXY", "NO_PROXY", "KUBERNETES_SERVICE_HOST", "PYTHONUNBUFFERED", "DEBUG", "HOST", "PORT", "A__B", "NESTED__NAME"),
    *("EDGEROUTER_PORT", "EDGEROUTER_SERVICE_HOST", "EDGEROUTER_SERVICE_PORT", "EDGEROUTER_SERVICE_PORT_HTTP"),
    *(
        "EDGEROUTER_PORT_8080_TCP",
        "EDGEROUTER_PORT_8080_TCP_ADDR",
        "EDGEROUTER_PORT_8080_TCP_PROTO",
        "EDGEROUTER_ADMIN_SERVICE_HOST",
    ),
    *("EDGEROUTER_IMAGE", "EDGEROUTER_VERSION", "EDGEROUTER_UID", "EDGEROUTER_LOG_PORT_80_TCP", "EDGEROUTER_ADMIN_SERVICE_HOST"),
)


class Without:
    """The installed plugins without those of some distributions of ours."""

    find, names = staticmethod(plugins.find), staticmethod(plugins.names)

    def __init__(self, *extras: str) -> None:
        self._extras = extras
        self._away = {name for extra in extras for _, name in cloud_variables.BY_EXTRA.get(extra, ())}

    def variables(self) -> list[Variables]:
        return [each for each in plugins.variables() if each.type not in self._away]

    def presets(self) -> list[Preset]:
        return [each for each in plugins.presets() if each.name not in self._extras]


def unread(environ: Mapping[str, str], file: Path | None = None) -> tuple[str, ...]:
    config = CloudBlock(environ).load(plugins) if file is None else plugins.load(file, environ)
    return config.unread


def test_the_table_of_cloud_variables_is_what_our_plugins_declare() -> None:
    """Names for receiving belong to the sink of the same service, which a missing distribution takes away too."""
    ours: dict[str, set[str]] = {}
    for each in plugins.variables():
        shared = {name for variable in each.variables for name in variable.shared}
        ours.setdefault(each.type, set()).update(set(declared.names(each)) - shared)
    known = {name: set(names) for by_plugin in cloud_variables.BY_EXTRA.values() for (_, name), names in by_plugin.items()}
    assert known == {name: ours[name] for name in known}
    ours_too = {f"edgerouter-{extra}" for extra in cloud_variables.BY_EXTRA}
    brought = {plugin.name for plugin in plugins.listing() if plugin.distribution in ours_too}
    assert known.keys() == brought & ours.keys()


def test_variables_of_a_plugin_that_is_not_installed_are_reported_with_what_to_install() -> None:
    away = {"AWS_SQS_QUEUE_NAME": "q", "AWS_SQS_REGION": "r", "AZURE_EH_CONNECTIONSTRING": "geheim", "AWS_ACCESS_KEY": "shared"}
    config = CloudBlock({**INFLUXDB, **away}).load(Without("aws", "azure"))
    assert config.off == (
        (
            "sink aws-sqs is off: AWS_SQS_QUEUE_NAME, AWS_SQS_REGION are set, but no plugin of that name is installed;"
            f" {install_command('aws')} brings it"
        ),
        (
            "sink azure-event-hubs is off: AZURE_EH_CONNECTIONSTRING is set, but no plugin of that name is installed;"
            f" {install_command('azure')} brings it"
        ),
    )
    assert [sink.name for sink in config.sinks] == ["influxdb"]
    assert config.unread == ()


def test_with_no_sink_left_the_missing_plugins_and_misspelt_names_are_reported_beside_it() -> None:
    with pytest.raises(ConfigurationError) as raised:
        CloudBlock({"GCP_PUBSUB_TOPIC": "t", "INFLUXDB_TOKN": "x"}).load(Without("gcp"))
    told = "\n".join(raised.value.problems)
    assert install_command("gcp") in told
    assert "INFLUXDB_TOKN is not read; did you mean INFLUXDB_TOKEN?" in told


def test_nothing_is_missing_where_everything_is_installed() -> None:
    assert not_installed(cloud_variables.names(), plugins.variables()) == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("LOCAL_MQTT_HSOT", "LOCAL_MQTT_HOST"),
        ("RELAY_OUT_TOPICS", "RELAY_OUT_TOPIC"),
        ("AWS_SQS_QUEUENAME", "AWS_SQS_QUEUE_NAME"),
        ("AZURE_EH_CONECTIONSTRNG", "AZURE_EH_CONNECTIONSTRING"),
        ("azure_blob_container", None),
        ("INFLUXDB_BUKET", None),
        ("EDGEROUTER_SPOOL_MAX_BYTES", "EDGEROUTER__SPOOL__MAX_BYTES"),
        ("EDGEROUTER_SPOOL_RETAIN_AGE", "EDGEROUTER__SPOOL__RETAIN__AGE"),
        ("edgerouter_log_level", "EDGEROUTER__LOG__LEVEL"),
        ("EDGEROUTER_LOG_LEVLE", "EDGEROUTER__LOG__LEVEL"),
        ("EDGEROUTER_SINKS_INFLUXDB_BATCH_LINGER", "EDGEROUTER__SINKS__INFLUXDB__BATCH__LINGER"),
        ("EDGEROUTER_CONFG", "EDGEROUTER_CONFIG"),
        ("EDGEROUTER_SECRET_DIR", "EDGEROUTER_SECRETS_DIR"),
        ("EDGEROUTER_SECRETS_STORE_ORDER", "EDGEROUTER_SECRET_STORE_ORDER"),
        ("EDGROUTER__SPOOL__MAX_BYTES", "EDGEROUTER__SPOOL__MAX_BYTES"),
    ],
)
def test_a_misspelt_variable_is_reported_with_the_nearest_name(name: str, near: str | None) -> None:
    expected = (f"{name} is not read; did you mean {near}?",) if near else ()
    assert unread({**INFLUXDB, "EDGEROUTER__SPOOL__TYPE": "memory", name: "x"}) == expected


def test_a_variable_of_a_field_that_is_not_there_says_how_they_are_written() -> None:
    (line,) = unread({**INFLUXDB, "EDGEROUTER_SINKS_ARCHIVE_PATH": "/x"})
    assert line.startswith("EDGEROUTER_SINKS_ARCHIVE_PATH is not read: a variable of the configuration has two underscores")


def test_beside_a_file_only_our_own_names_count(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("sources: {s: {type: mqtt, url: mqtt://b, topics: [a]}}\nsinks: {plant-log: {type: stdout}}\n")
    environ = {"LOCAL_MQTT_HSOT": "b", "EDGEROUTER_SINKS_PLANT_LOG_FRAMING": "lines", "EDGEROUTER_LOG_LEVEL": "debug"}
    assert unread(environ, file) == (
        "EDGEROUTER_LOG_LEVEL is not read; did you mean EDGEROUTER__LOG__LEVEL?",
        (
            "EDGEROUTER_SINKS_PLANT_LOG_FRAMING is not read: a variable of the configuration has two underscores"
            " between its parts, as EDGEROUTER__A__B"
        ),
    )


def test_variables_of_other_programs_raise_no_alarm() -> None:
    assert unread({**INFLUXDB, **dict.fromkeys(ORDINARY, "x")}) == ()


def test_files_of_the_secrets_folder_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "AWS_SQS_REGOIN").write_text("eu-west-1")
    (tmp_path / "server.key").write_text("AWS_SQS_REGOIN")
    environ = {**INFLUXDB, "EDGEROUTER_SECRETS_DIR": str(tmp_path)}
    assert unread(environ) == ("AWS_SQS_REGOIN is not read; did you mean AWS_SQS_REGION?",)


@given(st.sampled_from(sorted(cloud_variables.names())), st.data())
def test_two_letters_that_changed_places_are_found_in_every_name(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 2))
    swapped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    if swapped != name:
        (line,) = unread({**INFLUXDB, swapped: "x"})
        assert line.startswith(f"{swapped} is not read; did you mean ")


def test_check_lists_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith(("EDGEROUTER", "AWS", "AZURE", "GCP"))]:
        monkeypatch.delenv(name)
    environ = {**INFLUXDB, "EDGEROUTER__SPOOL__TYPE": "memory", "LOCAL_MQTT_HSOT": "b"}
    done = CliRunner().invoke(app, ["check"], env=environ)
    assert "environment: LOCAL_MQTT_HSOT is not read; did you mean LOCAL_MQTT_HOST?" in done.output
    assert done.exit_code == 0
