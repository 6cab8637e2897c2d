"""Finds the secrets in a pydantic model: fields of type `SecretStr`, and passwords and signatures in URLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, SecretBytes, SecretStr, model_validator

from edgerouter.masking import protect
from edgerouter.masking.parts import url_parts


class KeepsItsSecrets(BaseModel):
    """Base of models with secrets: once a model is validated, its secrets are masked for the rest of the process."""

    @model_validator(mode="after")
    def _protect(self) -> Self:
        protect(*secrets_in(self))
        return self


def secrets_in(value: Any) -> Iterator[str]:
    """Yield the values of all secret fields, at any depth, and the secret parts of URLs."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, BaseModel):
        for inner in value.__dict__.values():
            yield from secrets_in(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secrets_in(inner)
    elif isinstance(value, str):
        if "://" in value:
            yield from url_parts(value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from secrets_in(inner)
