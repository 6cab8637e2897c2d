"""Contract for environment variables: declared by a distribution so that its plugins can be enabled without a file.

A distribution names a tuple of `Variables` under the entry-point group `edgerouter.variables`, in a module that imports no SDK:

```toml
[project.entry-points."edgerouter.variables"]
acme = "edgerouter_acme.variables:VARIABLES"
```

Without a configuration file the router reads every declaration. If none of a plugin's variables are set, it is off. If all that
are required are set, it is on. If only some are set, it is off, and one line names the missing ones. A sink's variable that is
not set is looked up in the secret stores that are on, under its name in lower case with `_` -> `-`.

A tuple may also hold a `Preset`: variables of another system that together set up sources and sinks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["FromVariable", "Preset", "Variable", "Variables", "line_breaks", "only"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a plugin."""

    names: tuple[str, ...]
    """Its names, newest first; the first that is set counts."""
    field: str | None = None
    """Field of the plugin's configuration that it fills, dotted for one inside a section; `None`: required, but not used."""
    required: bool = True
    """True if the plugin is off without it."""
    secret: bool = False
    """True if its value must never be shown."""
    shared: tuple[str, ...] = ()
    """Names shared by several plugins: they count when none of `names` is set, but do not enable the plugin by themselves."""
    convert: Callable[[str], str] | None = None
    """Converts the variable's text to the field's; raises `ValueError` for an invalid one, without quoting it."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Variables of one plugin. A plugin that can be set up in several ways has one declaration for each.

    Of several declarations, the one applies whose requirements are all met and which covers every variable that is set.
    """

    kind: Literal["sink", "source", "secret_store"]
    """Kind of the plugin. A source receives from a service when a topic for messages from the cloud is set; its configuration has
    a field `topic`, which the router sets."""
    type: str
    """Plugin's name, as in `type: aws-sqs`; the sink, source or store gets the same name."""
    variables: tuple[Variable, ...]
    """Variables that fill its configuration."""
    unused: tuple[str, ...] = ()
    """Names that users of other systems have set too; accepted, not required, not used."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the configuration, such as one object for each message."""


@dataclass(frozen=True, slots=True)
class FromVariable:
    """A value that a preset made from a variable, which errors and `config --effective` then name."""

    name: str
    """Name of the variable."""
    value: Any = field(repr=False)
    """Value in the configuration."""
    secret: bool = False
    """True if it must never be shown."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Variables of another system that set up sources and sinks as its users have them.

    Where `Variables` fill the fields of one plugin, a preset makes whole entries of several, from values that need not be theirs.
    """

    name: str
    """Name of the preset, for lines about it."""
    names: tuple[str, ...]
    """Variables that it reads."""
    make: Callable[[Mapping[str, str]], Mapping[str, Mapping[str, Mapping[str, Any]]]]
    """Return entries of `sources` and `sinks` by section and name, from the variables that are set; nothing if the preset is off.
    Values are plain, or `FromVariable`; texts are taken as they stand, without references. Raises `ValueError`, whose text names
    the variable and quotes nothing that may be secret."""
    generic: tuple[str, ...] = ()
    """Those of `names` that other programs use too: never suggested for a misspelt name."""
    notes: Callable[[Mapping[str, str]], Sequence[str]] | None = None
    """Returns a line for each variable that is accepted and needs an explanation; `check` and the log at the start show them."""
    families: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of names that only the other system uses, each with a cure: a variable that begins so and is not read is reported
    with it."""


def line_breaks(text: str) -> str:
    r"""Convert PEM keys, as a `Variable.convert`: the two characters `\n` become a line break."""
    return text.replace("\\n", "\n")


def only(*allowed: str) -> Callable[[str], str]:
    """Build a `Variable.convert` that accepts only these values."""

    def check(text: str) -> str:
        if text.strip() not in allowed:
            raise ValueError(f"should be {' or '.join(allowed)}")
        return text.strip()

    return check
