"""`edgerouter config` read back means the same, for every field of every plugin."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from edgerouter import plugins
from edgerouter.config.admin import AdminConfig
from edgerouter.config.describe import effective, yaml_text
from edgerouter.config.loading import load
from edgerouter.config.model import (
    LogConfig,
    PluginKind,
    RouterConfig,
    SecretsConfig,
    ShutdownConfig,
    SinkPolicies,
    SpoolConfig,
)
from edgerouter.config.yaml_file import parse as parse_tree
from edgerouter.masking import forget_all


@pytest.fixture(autouse=True)
def _nothing_is_known_as_secret() -> None:
    forget_all()


HUB = "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=geheim;EntityPath=readings"
NEEDED: dict[tuple[PluginKind, str], dict[str, Any]] = {
    ("source", "aws-iot-core"): {"endpoint": "abc-ats.iot.eu-west-1.amazonaws.com", "topics": ["a"]},
    ("source", "azure-iot-hub"): {"connection_string": "HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=Z2VoZWlt"},
    ("source", "cloudsync"): {},
    ("source", "host-metrics"): {},
    ("source", "http"): {},
    ("source", "mqtt"): {"url": "mqtt://b", "topics": ["a"]},
    ("source", "aws-sqs"): {"queue": "q", "topic": "t"},
    ("source", "azure-event-hubs"): {"connection_string": HUB, "topic": "t"},
    ("source", "gcp-pubsub"): {"subscription": "s", "topic": "t", "project": "p"},
    ("source", "nats"): {"servers": ["nats://central:4222"], "subjects": ["plant.>"]},
    ("source", "nats-jetstream"): {"servers": ["nats://central:4222"], "stream": "PLANT", "durable": "router"},
    ("source", "nats-kv"): {"servers": ["nats://central:4222"], "bucket": "latest", "durable": "router"},
    ("sink", "file"): {"path": "/data"},
    ("sink", "stdout"): {},
    ("sink", "http"): {"url": "http://web/in"},
    ("sink", "influxdb"): {"url": "http://influx:8086", "token": "t", "org": "o", "bucket": "b"},
    ("sink", "mqtt"): {"url": "mqtt://b"},
    ("sink", "aws-sqs"): {"queue": "q", "region": "eu-west-1"},
    ("sink", "aws-s3"): {"bucket": "bucket", "region": "eu-west-1"},
    ("sink", "aws-iot-core"): {"endpoint": "abc-ats.iot.eu-west-1.amazonaws.com"},
    ("sink", "azure-event-hubs"): {"connection_string": HUB},
    ("sink", "azure-iot-hub"): {"connection_string": "HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=Z2VoZWlt"},
    ("sink", "cloudsync"): {},
    ("sink", "azure-blob"): {"account": "plantstore", "account_key": "Z2VoZWlt", "container": "readings"},
    ("sink", "gcp-pubsub"): {"topic": "t", "project": "p"},
    ("sink", "nats"): {"servers": ["nats://central:4222"]},
    ("sink", "nats-jetstream"): {"servers": ["nats://central:4222"]},
    ("sink", "nats-kv"): {"servers": ["nats://central:4222"], "bucket": "latest"},
    ("sink", "gcp-storage"): {"bucket": "bucket", "project": "p"},
    ("spool", "jetstream"): {"servers": ["nats://central:4222"]},
    ("step", "compress"): {},
    ("step", "edgex_event"): {},
    ("step", "convert"): {"fields": [{"field": "t", "scale": 2}]},
    ("step", "drop_fields"): {"fields": ["a"]},
    ("step", "encrypt"): {"key_file": str(Path(__file__).with_name("step.key"))},
    ("step", "envelope"): {},
    ("step", "filter"): {"topics": ["a"]},
    ("step", "on_change"): {},
    ("step", "pick"): {"fields": ["a"]},
    ("step", "project"): {"expression": "a"},
    ("step", "rename"): {"fields": {"a": "b"}},
    ("step", "sample"): {"one_in": 2},
    ("step", "set"): {"fields": {"a": 1}},
    ("step", "sparkplug-b"): {},
    ("step", "split"): {},
    ("step", "tags"): {"tags": {"a": "b"}},
    ("step", "throttle"): {"every": 1},
    ("step", "topic"): {"topic": "a"},
    ("step", "user_properties"): {"properties": {"a": "b"}},
    ("step", "validate"): {"schema": {"type": "object"}},
    ("step", "window"): {"every": 1},
    ("secret_store", "aws-secrets-manager"): {"region": "eu-west-1"},
    ("secret_store", "azure-keyvault"): {"vault": "plant-secrets"},
    ("secret_store", "gcp-secret-manager"): {"project": "p"},
}
SECTIONS: dict[str, type[BaseModel]] = {
    "spool": SpoolConfig,
    "secrets": SecretsConfig,
    "admin": AdminConfig,
    "log": LogConfig,
    "shutdown": ShutdownConfig,
}
TRICKY = (
    *("12345", "007", "0640", "0o17", "0x10", "1e3", "1_000", "1.50", ".5", "-0", "1" * 120),
    *(".inf", ".nan", "12:30", "1:2:3", "true", "True", "yes", "on", "no", "null", "~", "Null"),
    *("2026-11-20", "2026-11-20T08:00:00Z", "=", "<<", "!tag", "&a", "---", "a\tb", "#", "%"),
    *("${env:HOME}", "$${", "${", "$$${x}", "a${vault:x}b", "********", " padded "),
    *("a: b", "a #b", "- a", "[a, b]", "{a: b}", "'", '"', "it's", 'say "x"', "a\nb", "a\n", "\n..."),
    *("é", "\u2028", "\ufeff", "\x85", "\U0001f600", "@a", "`a`", "|", ">", "*a", "?", "a\\b", "x" * 200),
    *("a/b", "sensors/{topic}", "http://h:1/x", "mqtt://h", "plantstore", "eu-west-1", "127.0.0.1:8080"),
    *("/run/secrets/x", "relative/path", "512KiB", "1h30m", "200ms"),
)
TEXTS = st.one_of(st.sampled_from(TRICKY), st.text(max_size=20))
NUMBERS = st.one_of(st.integers(-2, 10), st.sampled_from([0.1, 1e-06, 1e16, 1 / 3, 2.5, 1000, 1024**2, 10**9, 2**40, 86400]))


EXAMPLES = settings().max_examples // 13
"""For each plugin; three in a usual run."""
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


class Found:
    """The installed plugins, each looked for once."""

    find = staticmethod(functools.cache(plugins.find))
    names = staticmethod(functools.cache(plugins.names))
    variables = staticmethod(functools.cache(plugins.variables))


PLUGINS = Found()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round")


def raw(annotation: Any) -> st.SearchStrategy[Any]:
    """Draw what a user could write for a field of this type; much of it is not valid."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return raw(inside[0])
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(raw, inside))
    if origin is typing.Literal:
        return st.sampled_from(inside)
    if origin in (tuple, list, frozenset, set):
        return st.lists(raw(inside[0]), max_size=3)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, raw(inside[1]), max_size=3)
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {name: raw(info.annotation) for name, info in annotation.model_fields.items()}
        return st.fixed_dictionaries({}, optional=fields)
    if annotation in (int, float) or (isinstance(annotation, type) and issubclass(annotation, int)):
        return st.one_of(NUMBERS, st.sampled_from(["512KiB", "1.5MB", "1h30m", "200ms", "0640", "644", "7"]))
    if annotation is SecretStr:
        # what is a secret in one field is masked in every other
        return st.uuids().map(str)
    return TEXTS


def escaped(value: Any) -> Any:
    """Write a text so that none of it is read as a reference."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {name: escaped(inner) for name, inner in value.items()}
    return [escaped(inner) for inner in value] if isinstance(value, list) else value


def grown(data: st.DataObject, model: type[BaseModel], needed: dict[str, Any]) -> dict[str, Any]:
    """Add what is valid of some fields, one after the other."""
    taken = dict(needed)
    # what is fixed here is not drawn
    fields = sorted(set(model.model_fields) - ({"steps"} & needed.keys()))
    names = data.draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    for name in names:
        tried = taken | {name: data.draw(raw(model.model_fields[name].annotation), label=name)}
        try:
            model.model_validate(tried)
        except ValidationError:
            continue
        taken = tried
    return taken


def secret_at(config: RouterConfig, path: tuple[str, ...]) -> str:
    section, *rest = path
    value: Any = getattr(config, section)
    if section in ("sources", "sinks", "secret_stores"):
        member = next(each for each in value if each.name == rest[0])
        value, rest = member.config, rest[1:]
    for step in rest:
        value = value[step] if isinstance(value, Mapping) else getattr(value, step)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def with_secrets(config: RouterConfig, text: str) -> str:
    """Put the secrets where their masks stand."""
    masked = iter(value.path for value in effective.values(config) if value.text == yaml_text.flow(yaml_text.MASK))
    lines = []
    for line in text.splitlines():
        before, mask, behind = line.partition(f": {yaml_text.flow(yaml_text.MASK)}  ")
        lines.append(f"{before}: {json.dumps(escaped(secret_at(config, next(masked))))}  {behind}" if mask else line)
    return "\n".join(lines)


def models(config: RouterConfig) -> Iterator[tuple[str, Any]]:
    for name in SECTIONS:
        yield name, getattr(config, name)
    for section in ("sources", "sinks", "secret_stores"):
        for member in getattr(config, section):
            yield f"{section}.{member.name}", member.config
            if section == "sinks":
                yield f"{section}.{member.name} policies", member.policies.model_copy(update={"steps": ()})
                yield f"{section}.{member.name} steps", member.steps


def read_back(config: RouterConfig, folder: Path) -> RouterConfig:
    file = folder / "read-back.yaml"
    file.write_text(with_secrets(config, effective.as_yaml(config)), "utf-8")
    return load(file, {}, PLUGINS)


@pytest.mark.parametrize("kind", typing.get_args(PluginKind))
def test_every_installed_plugin_takes_part(kind: PluginKind) -> None:
    ours = {plugin.name for plugin in plugins.listing() if plugin.kind == kind and plugin.distribution.startswith("edgerouter")}
    assert ours <= {name for each, name in NEEDED if each == kind}


@pytest.mark.parametrize(("kind", "name"), sorted(NEEDED), ids=str)
@given(data=st.data())
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=PHASES, database=None
)
def test_what_is_printed_means_the_same_when_it_is_read_back(
    kind: PluginKind, name: str, data: st.DataObject, folder: Path
) -> None:
    tree: dict[str, Any] = {
        "sources": {"s": {"type": "mqtt", **NEEDED["source", "mqtt"]}},
        "sinks": {"k": {"type": "stdout"}},
    }
    model = PLUGINS.find(kind, name).Config
    member = {"type": name, **grown(data, model, NEEDED[kind, name])}
    if kind == "step":
        member = {"type": "stdout", "steps": [member]}
    section = data.draw(st.sampled_from(sorted(SECTIONS)))
    tree[section] = grown(data, SECTIONS[section], {})
    if kind == "spool":
        tree["spool"] = member
    else:
        place = {"source": "sources", "sink": "sinks", "step": "sinks", "secret_store": "secret_stores"}[kind]
        tree.setdefault(place, {})["x.1"] = member
    if kind == "sink":
        tree["sinks"]["x.1"] |= grown(data, SinkPolicies, {"steps": []})
    file = folder / "edgerouter.yaml"
    file.write_text(json.dumps(escaped(tree)), "utf-8")
    config = load(file, {}, PLUGINS)
    again = read_back(config, folder)
    assert dict(models(again)) == dict(models(config))


@given(st.recursive(TEXTS | NUMBERS | st.booleans() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
@settings(max_examples=50, deadline=None, derandomize=True, phases=PHASES, database=None)
def test_every_value_is_one_line_that_our_reader_reads_as_the_same(value: Any) -> None:
    line = yaml_text.flow(value)
    assert "\n" not in line
    node, faults = parse_tree(f"a: {line}  # behind it\nb: 1\n", "x")
    assert not faults
    assert node.plain()["a"] == escaped(value)
