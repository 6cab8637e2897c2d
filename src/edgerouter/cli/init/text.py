"""The new file: YAML with a comment for each field, taken from the models."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pydantic import BaseModel

from edgerouter.cli.init.plan import Part, Setting
from edgerouter.config.describe.yaml_text import flow, key
from edgerouter.config.model import SinkPolicies, SpoolConfig

_WIDTH: Final = 110
_HEAD: Final = """\
# yaml-language-server: $schema=./edgerouter-schema.json
#
# Written by `edgerouter init`. An editor completes and checks this file after: edgerouter schema > edgerouter-schema.json
# `edgerouter config --effective` shows every field with its default.
"""
_POLICIES: Final = (("topics", '["#"]'), ("start", "oldest"), ("steps", "[]"))
"""Fields of every sink that a first configuration may want, each with a value."""


def yaml(parts: Sequence[Part], spool: str) -> str:
    """Return the text of the file."""
    lines = [_HEAD]
    for section in ("source", "sink"):
        lines.append(f"{section}s:")
        for part in parts:
            if part.kind == section:
                lines += _part(part)
        lines.append("")
    lines += ["spool:", *_comment(_help(SpoolConfig, "path"), "  "), f"  path: {flow(spool)}"]
    lines += [*_comment(_help(SpoolConfig, "max_bytes"), "  "), "  # max_bytes: 1GiB"]
    return "\n".join(lines) + "\n"


def _part(part: Part) -> Iterator[str]:
    yield from _comment(part.help, "  ")
    yield f"  {key(part.name)}:"
    yield f"    type: {key(part.type)}"
    for setting in part.settings:
        yield from _comment(setting.help, "    ")
        yield f"    {setting.name}: {_value(setting)}"
    if part.kind == "sink":
        for name, value in _POLICIES:
            yield from _comment(_help(SinkPolicies, name), "    ")
            yield f"    # {name}: {value}"


def _value(setting: Setting) -> str:
    if setting.value is not None:
        return flow(setting.value)
    reference = f'"${{env:{setting.variable}}}"'
    return f"[{reference}]" if setting.list else reference


def _help(model: type[BaseModel], name: str) -> str:
    return " ".join((model.model_fields[name].description or "").split())


def _comment(text: str, indent: str) -> Iterable[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]
