"""The configuration as it takes effect names every value's origin and shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgerouter import plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.describe import effective
from edgerouter.config.describe.yaml_text import MASK
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError

TEXT = """\
sources: {s: {type: mqtt, url: "mqtt://edge:${env:PASSWORD}@broker", topics: ["a/#"]}}
sinks:
  web:
    type: http
    url: http://web/in
    secret_headers: {Authorization: Bearer geheim}
    headers: {X-Site: "${env:SITE}"}
    batch: {linger: 2s}
  hub: {type: azure-event-hubs, connection_string: "${azure-keyvault:hub}"}
secret_stores:
  azure-keyvault:
    type: azure-keyvault
    vault: plant-secrets
    credential: {type: client-secret, tenant_id: t, client_id: c, client_secret: geheim}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RouterConfig:
    monkeypatch.chdir(tmp_path)
    Path("edgerouter.yaml").write_text(TEXT)
    environ = {"PASSWORD": "geheim", "SITE": "north-geheim", "EDGEROUTER__SPOOL__MAX_BYTES": "2GiB"}
    return plugins.load(Path("edgerouter.yaml"), environ)


def test_every_value_has_its_origin(config: RouterConfig) -> None:
    values = {value.dotted: value for value in effective.values(config)}
    origins = {path: value.origin for path, value in values.items()}
    assert origins["sinks.web.batch.linger"] == "edgerouter.yaml:8:21"
    assert origins["sinks.web.batch.max_messages"] == "default"
    assert origins["spool.max_bytes"] == "EDGEROUTER__SPOOL__MAX_BYTES"
    assert origins["sources.s.username"] == "derived"
    assert origins["sinks.web.headers.X-Site"] == "edgerouter.yaml:7:23, from ${env:SITE}"
    assert origins["sinks.hub.connection_string"] == "edgerouter.yaml:9:52, from ${azure-keyvault:hub}"
    assert origins["sinks.web.secret_headers.Authorization"] == "edgerouter.yaml:6:37"
    assert values["spool.max_bytes"].text == str(2 * 1024**3)


def test_no_secret_is_shown_wherever_it_came_from(config: RouterConfig) -> None:
    text = effective.as_yaml(config)
    assert "geheim" not in text
    masked = {value.dotted for value in effective.values(config) if MASK in value.text}
    assert masked == {
        "sources.s.url",
        "sources.s.password",
        "sinks.web.secret_headers.Authorization",
        "sinks.web.headers.X-Site",
        "sinks.hub.connection_string",
        "secret_stores.azure-keyvault.credential.client_secret",
    }


def test_it_is_yaml_with_every_field_of_every_model(config: RouterConfig) -> None:
    tree = yaml.safe_load(effective.as_yaml(config))
    assert tree["sinks"]["web"]["batch"] == config.sinks[0].policies.batch.model_dump()
    assert tree["spool"]["max_bytes"] == config.spool.max_bytes
    assert set(tree["sources"]["s"]) == {"type", "steps", *type(config.sources[0].config).model_fields}
    written = yaml.safe_load(effective.as_yaml(config, written_only=True))
    assert written["sinks"]["web"]["batch"] == {"linger": 2.0}
    assert written["spool"] == {"max_bytes": 2 * 1024**3}


def test_without_a_file_the_variables_are_the_origins() -> None:
    names = ("AWS_SQS_QUEUE_NAME", "AWS_SQS_REGION", "AWS_ACCESS_KEY", "AWS_SECRET_KEY")
    config = CloudBlock({**dict.fromkeys(names, "geheim"), "MQTT_HOST": "edge:geheim@broker", "AWS_SQS_QUEUE_NAME": "q"}).load(
        plugins
    )
    values = {value.dotted: value for value in effective.values(config)}
    assert (values["sinks.aws-sqs.queue"].text, values["sinks.aws-sqs.queue"].origin) == ("q", "AWS_SQS_QUEUE_NAME")
    secret = values["sinks.aws-sqs.secret_access_key"]
    assert (secret.text, secret.origin) == ("'********'", "AWS_SECRET_KEY")
    assert (values["sources.local.url"].text, values["sources.local.url"].origin) == ("'********'", "MQTT_HOST")


def test_permissions_stay_octal_an_empty_mapping_empty_and_a_text_no_reference(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(
        "sources: {s: {type: mqtt, url: mqtt://b, topics: ['a/$${b}']}}\n"
        "sinks: {web: {type: http, url: http://web, secret_headers: {}}, archive: {type: file, path: /data, mode: 0600}}\n"
    )
    text = effective.as_yaml(plugins.load(file, {}))
    for line in ("    mode: '0600'", "    secret_headers: {}", "    topics: [{topic: 'a/$${b}'}]"):
        assert line in text


def test_a_key_of_a_step_is_masked(tmp_path: Path) -> None:
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    file = tmp_path / "edgerouter.yaml"
    file.write_text(
        f"sources: {{s: {{type: mqtt, url: mqtt://b, topics: [a], steps: [{{type: encrypt, on_error: drop, key: {key}}}]}}}}\n"
        f"sinks:\n  a: {{type: stdout, steps: [{{type: encrypt, key: {key}}}]}}\n"
        "  b: {type: stdout, steps: [{type: encrypt, key: '${env:KEY}'}]}\n"
    )
    config = plugins.load(file, {"KEY": key})
    values = {value.dotted: value.text for value in effective.values(config)}
    assert values["sources.s.steps"] == "[{type: encrypt, on_error: drop, key: '********'}]"
    assert values["sinks.a.steps"] == "[{type: encrypt, key: '********'}]"
    assert values["sinks.b.steps"] == "'********'"
    assert key not in f"{effective.as_yaml(config)} {config!r} {config.sinks[0].policies!r} {config.sinks[0].digest}"


def test_a_secret_store_in_a_step_is_refused_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(
        "sources: {s: {type: mqtt, url: mqtt://b, topics: [a]}}\n"
        "sinks: {k: {type: stdout, steps: [{type: encrypt, key: '${azure-keyvault:key}'}]}}\n"
        "secret_stores: {azure-keyvault: {type: azure-keyvault, vault: plant-secrets}}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        plugins.load(file, {})
    (problem,) = str(caught.value).splitlines()
    assert "sinks.k.steps[0].key: ${azure-keyvault:...} works only in the own fields of a source or sink" in problem
    assert problem.endswith("here use ${env:NAME} or ${file:/path}")
