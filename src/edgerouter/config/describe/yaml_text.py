"""Write values as one line of YAML that `yaml_file` reads as the same values, references included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import yaml
from pydantic import BaseModel, SecretBytes, SecretStr

from edgerouter.config.yaml_file import scalar
from edgerouter.masking import mask
from edgerouter.visible import visible

MASK: Final = "********"
_MOST_KNOWN_CHARACTERS: Final = 64
"""Longer texts hardly occur twice; names of fields, levels and the mask do all the time."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `yaml_file.scalar` would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's)
        """Write equal values twice: an anchor is nothing that a person wants to follow."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = '"'
    elif not isinstance(scalar(text), str):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def flow(value: Any) -> str:
    """Return one line; a text is a value as it stands, not a reference."""
    return _line(_plain(value))


def key(text: str) -> str:
    """Return a key as it stands before its colon; keys hold no references."""
    return _known_text(text)


def _line(value: Any) -> str:
    # without a dumper for each: a configuration has hundreds of values, and most are one of these
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _known_text(value) if len(value) <= _MOST_KNOWN_CHARACTERS else _dumped(value)
    return _dumped(value)


@lru_cache(maxsize=2048)
def _known_text(text: str) -> str:
    return _dumped(text)


def _dumped(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    # PyYAML leaves some as they are that turn the direction of writing or have no width; what has any is in double quotes
    return visible(text.strip().removesuffix("\n...").strip())


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: _plain(inner)
            for name, inner in value.__dict__.items()
            # one that may be left out says no more when it is written
            if inner is not None or (name in fields and fields[name].get_default(call_default_factory=True) is not None)
        }
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, AbstractSet):
        return [_plain(inner) for inner in sorted(value, key=str)]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in value]
    if value is None or type(value) in (bool, int, float):
        return value
    # a URL may hold a password or a signature, and a header may be secret by its name alone;
    # a number with a special notation, such as permissions in octal, keeps it
    return mask(str(value)).replace("${", "$${")
