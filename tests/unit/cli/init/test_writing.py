"""A configuration to begin with is valid, is commented, and holds no secret.

Covers also: edgerouter.cli.init.command, edgerouter.cli.init.plan, edgerouter.cli.init.text.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from edgerouter import plugins
from edgerouter.cli.init.plan import parts
from edgerouter.cli.init.text import yaml as text_of
from edgerouter.cli.init.writing import write
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError
from support.command import run
from support.screen import screen

SOURCES, SINKS = plugins.names("source"), plugins.names("sink")
VALUES = {
    "CONNECTION_STRING": "HostName=plant.azure-devices.net;DeviceId=edge-1;SharedAccessKey=c2VjcmV0",
    "AZURE_BLOB_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=plant;AccountKey=c2VjcmV0",
    "AZURE_EVENT_HUBS_CONNECTION_STRING": (
        "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;EntityPath=hub"
    ),
    "MQTT_URL": "mqtt://plant.example",
    "URL": "https://plant.example",
    "SERVERS": "nats://plant.example",
    "ENDPOINT": "abc-ats.iot.eu-central-1.amazonaws.com",
    "QUEUE": "https://sqs.eu-central-1.amazonaws.com/123456789012/queue",
    "SUBSCRIPTION": "projects/plant/subscriptions/edge",
    "TOPIC": "projects/plant/topics/edge",
}


def loaded(text: str, folder: Path) -> RouterConfig:
    """Load a file whose variables are set as its user would."""
    file = folder / "edgerouter.yaml"
    file.write_text(text)
    variables = re.findall(r"\$\{env:(\w+)\}", text)
    assert not [name for name in variables if name.startswith("EDGEROUTER_")], "those have a meaning"
    environment = {}
    for name in variables:
        fitting = [value for ending, value in VALUES.items() if name.endswith(ending)]
        environment[name] = VALUES.get(name) or (fitting[0] if fitting else "plant-1")
    return plugins.load(file, environment)


@pytest.mark.parametrize("sink", SINKS)
def test_every_sink_that_is_installed_has_a_valid_configuration(sink: str, tmp_path: Path) -> None:
    config = loaded(text_of(parts(["mqtt"], [sink], "mqtt://broker", ["a/#", "b/+"], []), "./spool"), tmp_path)
    assert [(each.name, each.type) for each in config.sinks] == [(sink, sink)]
    assert config.sources[0].raw["topics"] == ["a/#", "b/+"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_that_is_installed_has_a_valid_configuration(source: str, tmp_path: Path) -> None:
    config = loaded(text_of(parts([source], ["file"], "", [], []), "./spool"), tmp_path)
    assert [(each.name, each.type) for each in config.sources] == [(source, source)]


def test_each_field_has_its_description_and_an_editor_finds_the_schema(tmp_path: Path) -> None:
    text = text_of(parts(["mqtt"], ["aws-s3", "file", "file"], "mqtt://broker", ["#"], []), "./spool")
    assert text.startswith("# yaml-language-server: $schema=")
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if re.match(r" +(?!type)[a-z_]+: .", line):
            assert lines[at - 1].lstrip().startswith("#"), line
    assert [each.name for each in loaded(text, tmp_path).sinks] == ["aws-s3", "file", "file-2"]
    assert max(map(len, lines)) < 130


def test_a_value_stands_as_given_and_a_secret_never(tmp_path: Path) -> None:
    given = ["file.path=/data/a: b", "http.url=https://plant.example/#x"]
    found = parts(["mqtt"], ["file", "http"], "mqtts://joe:hunter2@broker:8884", ["#"], given)
    text = text_of(found, "./spool")
    assert "hunter2" not in text
    assert "hunter2" not in text_of(parts(["mqtt"], [], "joe:hunter2@broker", [], []), "./spool")
    document = yaml.safe_load(text)
    assert document["sinks"]["file"]["path"] == "/data/a: b"
    assert document["sources"]["mqtt"]["url"] == "mqtts://broker:8884"
    assert document["sources"]["mqtt"]["username"] == "joe"
    assert document["sources"]["mqtt"]["password"] == "${env:MQTT_PASSWORD}"
    for sink, value in (("influxdb", "influxdb.token=abc"), ("http", "http.url=https://joe:hunter2@plant.example")):
        with pytest.raises(ConfigurationError, match="a secret does not belong into the file") as refused:
            parts(["mqtt"], [sink], "", [], [value])
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sink", "s3"), "--sink s3: not installed; there are aws-iot-core, aws-s3"),
        (("--set", "path=x"), "--set path: write NAME.FIELD=VALUE"),
        (("--broker", "mqtt://[bad"), "--broker: "),
        (("--set", "flie.path=x"), "--set flie: there is no such source or sink; there are mqtt, file"),
        (("--set", "file.pth=x"), "--set file.pth: file has no such field"),
    ],
)
def test_a_wrong_option_is_named_with_its_cure(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    done = run("init", *options, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(said), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_replaced_without_force(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("mine")
    done = run("init", folder=tmp_path)
    assert (done.returncode, file.read_text()) == (2, "mine")
    assert "--force replaces it" in done.stderr
    assert run("init", "--force", folder=tmp_path).returncode == 0
    assert "mqtt://localhost:1883" in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_what_it_says_comes_next_is_a_configuration_that_check_accepts(tmp_path: Path) -> None:
    done = run("init", "--sink", "file", "--sink", "stdout", "-o", "new.yaml", folder=tmp_path)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "Next: edgerouter check -c new.yaml; edgerouter run -c new.yaml"
    assert run("check", "-c", "new.yaml", folder=tmp_path).returncode == 0


def test_standard_output_gets_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(broker="mqtt://b", topics=["#"], sources=[], sinks=["influxdb"], given=[], output="-", force=False)
    out, err = capsys.readouterr()
    assert set(yaml.safe_load(out)) == {"sources", "sinks", "spool"}
    assert "INFLUXDB_TOKEN  secret: " in err
    loaded(out, tmp_path)


async def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    file = tmp_path / "asked.yaml"
    async with screen("init", "-o", file, columns=200) as terminal:
        for question, answer in (
            ("URL of the MQTT broker", "mqtt://asked"),
            ("Topic filters", ""),
            ("Sinks, with commas", "http"),
            ("http.url (empty", "https://plant.example"),
        ):
            await terminal.until(lambda text, question=question: question in text)  # type: ignore[misc]
            terminal.press(f"{answer}\r")
        assert await terminal.ended() == 0
    document = yaml.safe_load(file.read_text())
    assert document["sources"]["mqtt"] == {"type": "mqtt", "url": "mqtt://asked", "topics": ["#"]}
    assert document["sinks"] == {"http": {"type": "http", "url": "https://plant.example"}}
