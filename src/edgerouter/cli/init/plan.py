"""The choice of sources and sinks for a new configuration, and the values of their fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel

from edgerouter import plugins
from edgerouter.config.fields import fields
from edgerouter.errors import ConfigurationError
from edgerouter.masking import mask
from edgerouter.mqtt.address import parse_address, split_credentials

Kind = Literal["source", "sink"]

_VALUES: Final[Mapping[tuple[Kind, str, str], Any]] = {
    ("source", "mqtt", "url"): "mqtt://localhost:1883",
    ("source", "mqtt", "topics"): ["#"],
    ("source", "aws-iot-core", "topics"): ["#"],
    ("source", "nats", "subjects"): [">"],
    ("source", "nats-jetstream", "durable"): "edgerouter",
    ("source", "nats-kv", "durable"): "edgerouter",
    ("sink", "file", "path"): "./archive",
}
"""Values that suit a first configuration, by kind, type and field."""
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "azure-blob": ("connection_string",),
    "azure-event-hubs": ("connection_string",),
    "azure-iot-hub": ("connection_string",),
}
"""Fields that a type needs, or another in their place, so the model calls none of them required."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a source or sink in the new file."""

    name: str
    help: str
    secret: bool
    list: bool
    value: Any
    """A value, or `None` for a reference to the variable."""
    variable: str
    """Environment variable that the reference names."""


@dataclass(slots=True)
class Part:
    """One source or sink."""

    kind: Kind
    type: str
    name: str
    help: str
    settings: list[Setting] = field(default_factory=list)


def offered(kind: Kind) -> Sequence[str]:
    """Return the types that are installed."""
    return plugins.names(kind)


def parts(sources: Sequence[str], sinks: Sequence[str], broker: str, topics: Sequence[str], given: Sequence[str]) -> list[Part]:
    """Return the sources and sinks of a new configuration.

    Args:
        sources: their types.
        sinks: their types.
        broker: URL of the MQTT broker.
        topics: topic filters to subscribe to.
        given: values as `NAME.FIELD=VALUE`.

    Raises:
        ConfigurationError: a type or field is unknown, or a secret would stand in the file.
    """
    values = _given(given)
    found = list(_named("source", sources, values, _of_broker(broker, topics))) + list(_named("sink", sinks, values, {}))
    if values:
        known = ", ".join(part.name for part in found)
        raise ConfigurationError(f"--set {next(iter(values))}: there is no such source or sink; there are {known}")
    return found


def _of_broker(broker: str, topics: Sequence[str]) -> dict[str, str | None]:
    """Return the fields of a source `mqtt`; a password in the URL becomes a reference."""
    found: dict[str, str | None] = {"topics": ",".join(topics)} if topics else {}
    if not broker:
        return found
    url, user, password = split_credentials(broker)
    try:
        parse_address(url)
    except ValueError as error:
        raise ConfigurationError(f"--broker: {error}") from None
    if user is not None:
        found["username"] = user
    if password is not None:
        found["password"] = None
    return {"url": url, **found}


def _named(
    kind: Kind, types: Iterable[str], values: dict[str, dict[str, str]], of_broker: Mapping[str, str | None]
) -> Iterator[Part]:
    used: set[str] = set()
    for each in types:
        name = next(name for number in range(1, 1000) if (name := each if number == 1 else f"{each}-{number}") not in used)
        used.add(name)
        model: type[BaseModel] = plugins.find(kind, each).Config
        wanted: dict[str, str | None] = {**(of_broker if (kind, each) == ("source", "mqtt") else {}), **values.pop(name, {})}
        help_text = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        yield Part(kind, each, name, help_text, list(_settings(kind, each, name, model, wanted)))


def _settings(kind: Kind, type_: str, name: str, model: type[BaseModel], wanted: dict[str, str | None]) -> Iterator[Setting]:
    secrets = {each.path[0]: each.secret for each in fields(model) if len(each.path) == 1}
    if unknown := wanted.keys() - model.model_fields.keys():
        raise ConfigurationError(f"--set {name}.{min(unknown)}: {type_} has no such field; see `edgerouter schema`")
    for key, info in model.model_fields.items():
        default = _VALUES.get((kind, type_, key))
        if not info.is_required() and key not in wanted and key not in _ALSO.get(type_, ()) and default is None:
            continue
        text = wanted.get(key)
        if text is not None and (secrets[key] or mask(text) != text):
            raise ConfigurationError(
                f"--set {name}.{key}: a secret does not belong into the file; the file names a variable, and the variable holds it"
            )
        is_list = _is_list(model, key)
        value = default if text is None else text.split(",") if is_list else text
        variable = re.sub(r"\W", "_", f"{name}_{key}").upper()
        yield Setting(key, " ".join((info.description or "").split()), secrets[key], is_list, value, variable)


def _is_list(model: type[BaseModel], key: str) -> bool:
    return "tuple" in str(model.model_fields[key].annotation) or "list" in str(model.model_fields[key].annotation)


def _given(given: Sequence[str]) -> dict[str, dict[str, str]]:
    values: dict[str, dict[str, str]] = {}
    for each in given:
        path, equals, value = each.partition("=")
        name, dot, key = path.rpartition(".")
        if not (equals and dot and name and key):
            raise ConfigurationError(f"--set {path}: write NAME.FIELD=VALUE, for example --set file.path=/data/archive")
        values.setdefault(name, {})[key] = value
    return values
