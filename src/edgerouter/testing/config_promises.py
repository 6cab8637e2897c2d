"""Conformance tests of a sink's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from edgerouter.sink import SinkConfig
from edgerouter.testing.promises import SinkPromises

POLICY_FIELDS = frozenset(
    {"type", "topics", "steps", "batch", "concurrency", "timeout", "retry", "drain", "backlog_share", "start", "rate"}
)
"""Names that every configured sink has in addition to its own fields."""


SECRET_NAMES = (
    "password",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "private_key",
    "access_key",
    "account_key",
    "connection_string",
)
"""Endings of the names of fields that hold a secret."""


def _is_text(annotation: Any) -> bool:
    return annotation in (str, bytes) or any(map(_is_text, get_args(annotation)))


def models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield all models in the type of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_within(argument)


def undocumented(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields without a docstring, including those of nested models."""
    for name, field in model.model_fields.items():
        if not field.description:
            yield f"{path}{name}"
        for inner in models_within(field.annotation):
            yield from undocumented(inner, f"{path}{name}.")


def secrets_of(model: BaseModel) -> Iterator[str]:
    """Yield the values of all secret fields that are set, including those of nested models, lists and mappings."""
    for name in type(model).model_fields:
        yield from _secrets_within(getattr(model, name))


def _secrets_within(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr) and value.get_secret_value():
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes) and value.get_secret_value():
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, BaseModel):
        yield from secrets_of(value)
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_secrets_within, value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from chain.from_iterable(map(_secrets_within, value))


def plain_secrets(model: type[BaseModel]) -> list[str]:
    """Return the names of fields that sound secret and hold plain text."""
    return [
        name for name, field in model.model_fields.items() if name.lower().endswith(SECRET_NAMES) and _is_text(field.annotation)
    ]


class ConfigPromises(SinkPromises):
    """A sink's configuration is documented, strict, and keeps its secrets."""

    async def test_the_configuration_is_a_frozen_sink_config(self) -> None:
        """`Config` is a `SinkConfig` whose values do not change."""
        model_class = self.sink_class.Config
        assert issubclass(model_class, SinkConfig), "`Config` is a subclass of edgerouter.SinkConfig"
        assert model_class.model_config.get("frozen") is True, "leave `frozen` as SinkConfig has it"
        assert model_class.model_config.get("extra") == "forbid", "leave `extra` as SinkConfig has it"

    async def test_an_unknown_key_is_an_error(self, config: Mapping[str, Any]) -> None:
        """A misspelt key is found, never ignored."""
        with pytest.raises(ValidationError, match="no_such_key"):
            self.sink_class.Config.model_validate({**config, "no_such_key": 1})

    async def test_every_field_is_documented(self) -> None:
        """The docstrings of the fields are the user manual, including those of nested sections."""
        silent = list(undocumented(self.sink_class.Config))
        assert silent == [], f"write a docstring under these fields: {', '.join(silent)}"

    async def test_no_field_has_the_name_of_a_policy(self) -> None:
        """The sink's own fields share a section with the policies of every sink."""
        taken = sorted(POLICY_FIELDS & set(self.sink_class.Config.model_fields))
        assert taken == [], f"every sink has these already, from the router: {', '.join(taken)}"

    async def test_the_configuration_has_a_json_schema(self) -> None:
        """Editors and `edgerouter schema` can describe it."""
        schema = self.sink_class.Config.model_json_schema()
        assert schema["additionalProperties"] is False

    async def test_the_configuration_never_shows_a_secret(self, config: Mapping[str, Any]) -> None:
        """Neither its repr, nor its text, nor its dump holds the value of a secret."""
        model = self.sink_class.Config.model_validate(dict(config))
        shown = f"{model!r} {model!s} {model.model_dump()!r} {model.model_dump_json()}"
        secrets = list(secrets_of(model))
        assert secrets or "secrets" in self.unsupported, (
            'give the `config` of the test a secret; where the sink has none: `unsupported = {"secrets": "the sink has none"}`'
        )
        for secret in secrets:
            assert secret not in shown, "a secret's value is shown by the configuration: leave SecretStr as it is"

    async def test_a_field_that_sounds_secret_is_one(self) -> None:
        """A password is a `SecretStr`: `edgerouter config` and errors show plain text."""
        plain = plain_secrets(self.sink_class.Config)
        assert plain == [], f"make these fields SecretStr: {', '.join(plain)}"
