"""The configuration as it takes effect: every value, defaults included, and where it comes from; secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from edgerouter.config.describe.yaml_text import MASK, flow, key
from edgerouter.config.fields import fields
from edgerouter.config.model import SECTIONS, Configured, ConfiguredSecretStore, ConfiguredSink, ConfiguredSource, RouterConfig

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the configuration."""

    path: tuple[str, ...]
    """Keys from the top: `("sinks", "alerts", "batch", "linger")`."""
    text: str
    """Text for the file; masked where it is secret."""
    origin: str
    """Origin: file, line and column, a variable, a secret store, or `default`."""

    @property
    def dotted(self) -> str:
        """`sinks.alerts.batch.linger`."""
        return ".".join(self.path)


def values(config: RouterConfig) -> list[Value]:
    """Return every value, in the order of the file."""
    found: list[Value] = []
    describer = _Describer(config)
    for section, member in config.members():
        if not isinstance(member, ConfiguredSecretStore) or member.listed:
            found += describer.member(section, member)
    for section in SECTIONS:
        found += describer.model((section,), written := getattr(config, section), type(written))
    host_origin = config.origins.get("host", "this machine's name")
    found.append(Value(("host",), describer.shown(("host",), config.host, secret=False), host_origin))
    return found


def as_yaml(config: RouterConfig, *, written_only: bool = False) -> str:
    """Return an equal file, with the origin of every value behind it; secrets are masked, so the router cannot run from it.

    Args:
        config: a valid configuration.
        written_only: leave out what is a default.
    """
    lines: list[str] = [f"# {line}" for line in (*config.off, *config.unread)]
    open_path: tuple[str, ...] = ()
    rows: list[tuple[str, str]] = []
    for value in values(config):
        if written_only and value.origin == DEFAULT:
            continue
        *parents, last = value.path
        common = 0
        while common < min(len(parents), len(open_path)) and parents[common] == open_path[common]:
            common += 1
        rows += [(f"{'  ' * depth}{key(parents[depth])}:", "") for depth in range(common, len(parents))]
        open_path = tuple(parents)
        rows.append((f"{'  ' * len(parents)}{key(last)}: {value.text}", value.origin))
    width = min(72, max((len(text) for text, origin in rows if origin), default=0))
    lines += [f"{text:<{width}}  # {origin}" if origin else text for text, origin in rows]
    return "\n".join(lines) + "\n"


class _Describer:
    def __init__(self, config: RouterConfig) -> None:
        self._origins = _Below(config.origins)
        self._references = _Below(config.references)

    def member(self, section: str, member: Configured) -> Iterator[Value]:
        """Yield the type, the own fields and the policies of a sink, source or store."""
        place = (section, member.name)
        yield Value((*place, "type"), flow(member.type), self.origin((*place, "type"), same=False))
        yield from self.model(place, member.config, type(member.config))
        if isinstance(member, ConfiguredSink):
            policies = type(member.policies)
            yield from (value for value in self.model(place, member.policies, policies) if value.path[-1] != "steps")
        if isinstance(member, ConfiguredSink | ConfiguredSource):
            steps = [{"type": step.type, **_written(step.config)} for step in member.steps]
            yield Value(
                (*place, "steps"),
                self.shown((*place, "steps"), steps, secret=False),
                self.origin((*place, "steps"), same=not steps),
            )

    def model(self, place: tuple[str, ...], model: BaseModel, kind: type[BaseModel]) -> Iterator[Value]:
        secret = frozenset(field.path[-1] for field in fields(kind) if field.secret)
        for name, info in kind.model_fields.items():
            if name in model.__dict__:
                default = info.get_default(call_default_factory=True) if not info.is_required() else _NO_DEFAULT
                yield from self._value((*place, name), model.__dict__[name], default, secret)

    def _value(self, place: tuple[str, ...], value: Any, default: Any, secret: AbstractSet[str]) -> Iterator[Value]:
        if isinstance(value, BaseModel):
            default_of = default if isinstance(default, BaseModel) and type(default) is type(value) else None
            for name in type(value).model_fields:
                inner = value.__dict__.get(name)
                yield from self._value((*place, name), inner, getattr(default_of, name, _NO_DEFAULT), secret)
        elif isinstance(value, Mapping) and value:
            for name, inner in value.items():
                inside = secret | {str(name)} if place[-1] in secret else secret
                yield from self._value((*place, str(name)), inner, _NO_DEFAULT, inside)
        else:
            yield Value(place, self.shown(place, value, secret=place[-1] in secret), self.origin(place, same=_same(value, default)))

    def shown(self, place: tuple[str, ...], value: Any, *, secret: bool) -> str:
        """Return the value as text for the file, or the mask of a secret."""
        if value is None or _is_empty(value):
            return flow(value)
        if secret or self._references.at_or_below(".".join(place)):
            return flow(MASK)
        return flow(value)

    def origin(self, place: tuple[str, ...], *, same: bool) -> str:
        """Return the origin of the value, of the written parts of it, or of the text that it is a part of."""
        dotted = ".".join(place)
        labels = self._origins.at_or_below(dotted) or self._origins.above(dotted)
        references = self._references.at_or_below(dotted)
        if labels:
            further = [f"from {each}" for each in references if each not in labels]
            return ", ".join(dict.fromkeys([*labels, *further]))
        return DEFAULT if same else "derived"


def _written(config: BaseModel) -> dict[str, Any]:
    """Return what was written of a step: its defaults would hide it."""
    return {name: getattr(config, name) for name in type(config).model_fields if name in config.model_fields_set}


class _Below:
    """Origins by path of a configuration, found by any path above them in one step."""

    def __init__(self, by_path: Mapping[str, str]) -> None:
        self._by_path = by_path
        self._below: dict[str, list[str]] = {}
        for path, text in by_path.items():
            for prefix in _prefixes(path):
                self._below.setdefault(prefix, []).append(text)

    def at_or_below(self, dotted: str) -> Sequence[str]:
        return self._below.get(dotted, ())

    def above(self, dotted: str) -> Sequence[str]:
        return [self._by_path[prefix] for prefix in _prefixes(dotted) if prefix in self._by_path]


def _prefixes(path: str) -> Iterator[str]:
    """Yield every path above this one, and itself."""
    yield from (path[:at] for at, character in enumerate(path) if character in ".[")
    yield path


_NO_DEFAULT: Final = object()


def _same(value: Any, default: Any) -> bool:
    return default is _NO_DEFAULT or bool(value == default)


def _is_empty(value: Any) -> bool:
    """Return true for an empty collection, which holds no secret."""
    return isinstance(value, Mapping | AbstractSet | list | tuple) and not value
