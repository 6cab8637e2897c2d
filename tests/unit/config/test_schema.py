"""The JSON Schema accepts what the router accepts, and every field of every model is described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.cli.main import app
from edgerouter.cli.schema import installed_configs
from edgerouter.config import model
from edgerouter.config.schema import DRAFT, build
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
    ],
)
def test_a_bad_file_is_not_valid(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    assert old in GOOD
    assert not validator.is_valid(yaml.safe_load(GOOD.replace(old, new)))


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
    todo: list[type[BaseModel]] = [
        each for each in vars(model).values() if isinstance(each, type) and issubclass(each, model.Section)
    ]
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
