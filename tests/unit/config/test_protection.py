"""A secret is shown by no problem of the configuration, no effective value and no text, in whatever field of whatever plugin.

Covers also: edgerouter.config.digest, edgerouter.masking.models.
"""

from __future__ import annotations

import functools
import itertools
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr

from edgerouter import plugins
from edgerouter.config import loading
from edgerouter.config.describe import effective
from edgerouter.config.model import PluginKind
from edgerouter.config.protection import protect_written
from edgerouter.config.yaml_file import parse as parse_tree
from edgerouter.errors import ConfigurationError
from edgerouter.masking import mask
from edgerouter.masking.models import secrets_in

SECRET = "S3cr3t-Pl4nted:x9/Q"
SECTIONS: Mapping[PluginKind, str] = {"source": "sources", "sink": "sinks", "secret_store": "secret_stores"}
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "sink http": {"url": "https://h.example/in"},
    "sink influxdb": {"url": "https://h.example", "org": "o", "bucket": "b", "token": "t"},
    "sink mqtt": {"url": "wss://h.example"},
    "source host-metrics": {},
    "source http": {},
    "source mqtt": {"url": "wss://h.example", "topics": ["a/#"]},
    "sink file": {"path": "out"},
    "sink aws-s3": {"bucket": "bucket", "region": "eu-west-1"},
    "sink aws-sqs": {"queue": "q", "region": "eu-west-1"},
    "source aws-sqs": {"queue": "q", "region": "eu-west-1", "topic": "a"},
    "sink azure-blob": {"account": "account", "container": "c"},
    "sink azure-event-hubs": {"namespace": "ns", "hub": "h"},
    "source azure-event-hubs": {"namespace": "ns", "hub": "h", "topic": "a"},
    "sink gcp-pubsub": {"topic": "t", "project": "p"},
    "source gcp-pubsub": {"subscription": "s", "project": "p", "topic": "a"},
    "sink gcp-storage": {"bucket": "b"},
    "secret_store azure-keyvault": {"vault": "v"},
}
"""Fields that make a configuration of each plugin valid but for the one in question."""


MOST = 2
"""Places in one section in which a value is planted; more of the same models take minutes."""


class Installed:
    """The installed plugins, each looked for once."""

    find = staticmethod(functools.cache(plugins.find))
    names = staticmethod(functools.cache(plugins.names))
    variables = staticmethod(functools.cache(plugins.variables))


INSTALLED = Installed()


def samples(annotation: Any, text: str) -> Iterator[Any]:
    """Values of a type that hold the text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (str, SecretStr, Path):
        yield text
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            for value in samples(info.annotation, text):
                yield {name: value}
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from samples(argument, text)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        for value in samples(arguments[1], text):
            yield {"X-Token": value}
    elif origin in (tuple, list):
        for value in samples(arguments[0], text):
            yield [value]
    elif arguments:  # Annotated
        yield from samples(arguments[0], text)


def fields() -> Iterator[tuple[PluginKind, str, str]]:
    for kind in SECTIONS:
        for name in INSTALLED.names(kind):
            for field, info in INSTALLED.find(kind, name).Config.model_fields.items():
                if any(True for _ in samples(info.annotation, "")):
                    yield kind, name, field


FIELDS = list(fields())


def written(kind: PluginKind, name: str, field: str, value: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "sources": {"s": {"type": "mqtt", "url": "b.example", "topics": ["a"]}},
        "sinks": {"o": {"type": "stdout"}},
    }
    tree.setdefault(SECTIONS[kind], {})["planted"] = {"type": name, **NEEDED.get(f"{kind} {name}", {}), field: value}
    return tree


def told(tree: Any, tmp_path: Path, environ: Mapping[str, str]) -> str:
    """All that loading and showing a configuration says."""
    file = tmp_path / "edgerouter.yaml"
    file.write_text(json.dumps(tree))  # YAML, in a tenth of the time
    try:
        config = loading.load(file, environ, INSTALLED)
    except ConfigurationError as error:
        return mask(str(error))
    return effective.as_yaml(config, written_only=True) + repr(config)


@pytest.mark.parametrize(("kind", "name", "field"), FIELDS)
def test_a_value_that_came_by_reference_is_shown_nowhere(kind: PluginKind, name: str, field: str, tmp_path: Path) -> None:
    annotation = plugins.find(kind, name).Config.model_fields[field].annotation
    for form in ("${env:PLANTED}", "wss://user:${env:PLANTED}@h.example/${env:PLANTED}"):
        for value in itertools.islice(samples(annotation, form), MOST):
            said = told(written(kind, name, field, value), tmp_path, {"PLANTED": SECRET})
            for part in (SECRET, "S3cr3t", "Pl4nted", "s3cr3t"):
                assert part not in said, (form, said)
            # and a service that answers with it does not bring it back
            assert "Pl4nted" not in mask(f"unknown: {SECRET}")


@pytest.mark.parametrize(("kind", "name", "field"), FIELDS)
def test_a_password_and_a_signature_in_any_url_are_shown_nowhere(kind: PluginKind, name: str, field: str, tmp_path: Path) -> None:
    annotation = plugins.find(kind, name).Config.model_fields[field].annotation
    for form in (
        "https://user:S3cr3t/Pl4nted@h.example/a?sv=1&sig=S3cr3t-Pl4nted%3D&se=2",
        "wss://user:S3cr3tpa://Pl4nted@h.example/mqtt",
        "user:S3cr3t-Pl4nted@h.example",
    ):
        for value in itertools.islice(samples(annotation, form), MOST):
            said = told(written(kind, name, field, value), tmp_path, {})
            for part in ("S3cr3t", "Pl4nted"):
                assert part not in said, (form, said)


def test_every_field_that_holds_a_secret_by_its_name_is_a_secret() -> None:
    for kind, name, field in FIELDS:
        annotation = plugins.find(kind, name).Config.model_fields[field].annotation
        if field.endswith(("headers", "password", "secret", "token", "connection_string", "api_key")) and (kind, name, field) != (
            "sink",
            "http",
            "headers",  # those that are secret go into `secret_headers`; by their names they are masked all the same
        ):
            assert "SecretStr" in str(annotation), f"{kind} {name}: {field}"


def test_the_secrets_of_a_valid_model_are_known_at_once() -> None:
    config = plugins.find("sink", "mqtt").Config(
        url="wss://u:g3heim-77@h.example", topic="a", websocket_headers={"X": "k3y-k3y-k3y"}
    )
    assert sorted(secrets_in(config)) == ["g3heim-77", "k3y-k3y-k3y"]
    assert mask("refused g3heim-77 and k3y-k3y-k3y") == "refused *** and ***"


@pytest.mark.parametrize(
    "password",
    [
        "${file:/run/credentials/edgerouter.service/mqtt-password}",
        "${env:MQTT_PASSWORD_OF_THE_PLANT}",
        "f1rst-h4lf-${file:/run/credentials/edgerouter.service/mqtt-password}",
    ],
)
def test_a_file_or_variable_that_is_missing_is_named(tmp_path: Path, password: str) -> None:
    url = f"mqtt://one:{password}@localhost"
    sources = {"local": {"type": "mqtt", "url": url, "topics": ["a/#"], "password": password}}
    shown = told({"sources": sources, "sinks": {"out": {"type": "file", "path": "out"}}}, tmp_path, {})
    assert str(tmp_path / "edgerouter.yaml") in shown
    reference = password.removeprefix("f1rst-h4lf-")
    assert f"local.password: {reference}" in shown
    assert f"local.url: {reference}" in shown
    assert "f1rst" not in mask("the password begins with f1rst-h4lf-") or password == reference


@pytest.mark.parametrize("reference", ["${env:ALERTS_TOKEN}", "${file:/run/secrets/alerts-token}"])
def test_a_file_or_variable_of_a_header_with_credentials_is_named_too(tmp_path: Path, reference: str) -> None:
    headers = {"Authorization": f"Bearer {reference}"}
    sinks = {"alerts": {"type": "http", "url": "https://plant.example", "secret_headers": headers}}
    sources = {"local": {"type": "mqtt", "url": "mqtt://localhost", "topics": ["a/#"]}}
    assert f"alerts.secret_headers.Authorization: {reference}: " in told({"sources": sources, "sinks": sinks}, tmp_path, {})


def test_a_default_and_what_only_looks_like_a_reference_are_secret() -> None:
    text = "{a: {password: '${env:NAME:-s3cret-default}'}, b: {password: 'a$${file:s3cret-text}'}}"
    tree, _ = parse_tree(text, "edgerouter.yaml")
    protect_written(tree)
    assert "s3cret" not in mask("s3cret-default and s3cret-text")


def test_what_merely_holds_an_at_sign_is_not_a_secret() -> None:
    """An address of electronic mail, or a folder: as a secret it would turn every other word like it into stars."""
    tree, _ = parse_tree('sources: {s: {type: mqtt, client_id: sensors@plant-7, topics: ["gateways@hall/#"]}}', "x")
    protect_written(tree)
    assert mask("sensors and gateways") == "sensors and gateways"
