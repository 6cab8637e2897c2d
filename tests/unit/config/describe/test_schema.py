"""The JSON Schema accepts what the router accepts, and every field of every model is described.

Covers also: edgerouter.cli.schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from edgerouter import plugins
from edgerouter.cli.main import app
from edgerouter.cli.schema import installed_configs
from edgerouter.config import model
from edgerouter.config.describe.schema import DRAFT, Quietly, build
from edgerouter.config.model import SinkPolicies
from edgerouter.section import Section
from edgerouter.units import ByteSize, Duration, parse_byte_size, parse_duration
from support.distributions import install, installed_plugins, on_path


@pytest.fixture(scope="module", autouse=True)
def _plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed_plugins(tmp_path_factory.mktemp("site")):
        yield


@pytest.fixture(scope="module")
def validator(_plugins: None) -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(build(installed_configs())))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DRAFT
    return jsonschema.Draft202012Validator(schema)


GOOD = """
sources:
  local: {type: mqtt, url: mqtt://localhost:1883, topics: ["sensors/#", {topic: a, qos: 2}]}
  feed: {type: feed, password: "${vault:x}"}
spool: {path: /var/lib/edgerouter, max_bytes: 2GiB, max_messages: "${env:MAX}"}
secret_stores:
  mine: {type: vault, prefix: p}
sinks:
  archive: {type: file, path: /data, topics: ["sensors/+/alert"], batch: {linger: 200ms, max_messages: 5}}
  plain: {type: stdout}
  alerts: {type: queue, queue: plant-alerts, port: "${env:PORT:-5}", retry: {max_delay: 5m}, drain: live_first}
admin: {listen: "127.0.0.1:8080"}
log: {level: debug}
shutdown: {grace: 10}
host: box
"""


def test_a_good_file_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(GOOD))] == []


def test_the_router_takes_the_good_file_too(tmp_path: Path) -> None:
    path = tmp_path / "edgerouter.yaml"
    path.write_text(GOOD)
    assert plugins.load(path, {"MAX": "5"}).sinks[2].config.model_dump()["port"] == 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sinks:", "sink:"),
        ("queue: plant-alerts", "quue: plant-alerts"),
        ("queue: plant-alerts, ", ""),
        ("type: queue", "type: quue"),
        ("type: queue, ", ""),
        ("live_first", "life_first"),
        ("max_messages: 5}", "max_messages: 0}"),
        ("linger: 200ms", "lingr: 200ms"),
        ('port: "${env:PORT:-5}"', "port: x"),
        ("level: debug", "level: loud"),
        ("prefix: p", "suffix: p"),
        ("archive:", "'archive !':"),
        ("2GiB", "2 gigs"),
        ("200ms", "200 moments"),
    ],
)
def test_a_bad_file_is_not_valid(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    assert old in GOOD
    assert not validator.is_valid(yaml.safe_load(GOOD.replace(old, new)))


def test_every_property_of_every_plugin_keeps_its_description_and_its_default() -> None:
    """Properties written for one plugin are not taken from another that shares them."""
    configs = installed_configs()
    schema = build(configs)
    for kind, by_type in configs.items():
        for name, config in by_type.items():
            shared: list[type[BaseModel]] = [SinkPolicies] if kind == "sink" else []
            properties = schema["$defs"][config.__name__ if kind == "spool" else f"{kind}:{name}"]["properties"]
            for each in (config, *shared):
                for field, alone in each.model_json_schema(schema_generator=Quietly)["properties"].items():
                    for told in ("description", "default", "title"):
                        assert properties[field].get(told) == alone.get(told), f"{kind} {name}: {told} of {field}"


def test_sizes_and_durations_of_the_schema_are_those_that_the_router_reads() -> None:
    size, duration = (TypeAdapter(each).json_schema()["anyOf"][1]["pattern"] for each in (ByteSize, Duration))
    for text in ("0", "512KiB", "1.5MB", " 2 gib ", "10k", "7B", "2 gigs", "KiB", "1Ki", "-1", "1e3", "", "0x10"):
        assert bool(re.search(size, text)) == is_read(parse_byte_size, text), text
    for text in ("0", "5", "0.2", "200ms", "1h30m", " 5 m ", "1w2d", "5 parsecs", "1h 30m", "ms", "-1s", "1M", "1e3", "never"):
        assert bool(re.search(duration, text)) == is_read(parse_duration, text), text


def is_read(parse: Callable[[str], float], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def test_a_plugin_that_cannot_be_imported_is_left_out_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path, "broken-dist", "plugin_broken", "import no_such_module", {"edgerouter.sinks": {"broken": "{module}:Sink"}})
    with on_path(tmp_path):
        app(["schema"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert "sink:broken" not in json.loads(out)["$defs"]
    assert "left out: the sink 'broken' of broken-dist 1.0" in err


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _all_models() -> set[type[BaseModel]]:
    todo: list[type[BaseModel]] = [each for each in vars(model).values() if isinstance(each, type) and issubclass(each, Section)]
    todo += [config for by_type in installed_configs().values() for config in by_type.values()]
    found: set[type[BaseModel]] = set()
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += [inner for info in each.model_fields.values() for inner in _inside(info.annotation)]
    return found


def test_every_field_of_every_model_has_a_description() -> None:
    bare = [
        f"{each.__qualname__}.{name}" for each in _all_models() for name, info in each.model_fields.items() if not info.description
    ]
    assert bare == []
