"""One walk finds every field of a configuration model, wherever it is."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from edgerouter.config.fields import fields, models_in


class Inner(BaseModel):
    deep: bool = False
    key: SecretStr | None = None


class Outer(BaseModel):
    name: str
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()
    by_name: dict[str, list[Inner]] = {}
    tokens: dict[str, SecretStr] = {}


def test_fields_of_inner_models_follow_the_field_that_holds_them() -> None:
    assert [".".join(field.path) for field in fields(Outer)] == [
        "name",
        *("inner", "inner.deep", "inner.key"),
        *("parts", "parts[].deep", "parts[].key"),
        *("by_name", "by_name.*[].deep", "by_name.*[].key"),
        "tokens",
    ]


def test_a_field_is_secret_when_any_part_of_its_value_is() -> None:
    assert {field.path[-1] for field in fields(Outer) if field.secret} == {"key", "tokens"}


def test_models_are_found_in_containers_and_unions() -> None:
    assert models_in(dict[str, list[Inner | Outer]] | None) == {Inner, Outer}
