"""The contract for environment variables: what a distribution declares so that its plugins can be switched on without a file.

A distribution names a tuple of `Variables` under the entry-point group `edgerouter.variables`, in a module that imports no SDK:

```toml
[project.entry-points."edgerouter.variables"]
acme = "edgerouter_acme.variables:VARIABLES"
```

Without a configuration file the router asks every declaration. None of a plugin's variables set: it is off. All that are
required set: it is on. Some set: it is off, and one line says what is missing. A variable of a sink that is not set is looked up
in the secret stores that are on, under its name lower-cased with `_` -> `-`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a plugin."""

    names: tuple[str, ...]
    """Its names, the newest first; the first that is set counts."""
    field: str | None = None
    """The field of the plugin's configuration that it fills, dotted for one inside a section; `None`: demanded, but not used."""
    required: bool = True
    """Whether the plugin is off without it."""
    secret: bool = False
    """Whether its value is never shown."""
    shared: tuple[str, ...] = ()
    """Names that several plugins share: they count when none of `names` is set, but do not switch the plugin on by themselves."""
    convert: Callable[[str], str] | None = None
    """Makes the field's text of the variable's; raises `ValueError` for one that is not right, without quoting it."""


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one plugin. A plugin that can be set up in several ways has one declaration for each.

    Of several, the one counts that has everything it requires and to which everything that is set belongs.
    """

    kind: Literal["sink", "source", "secret_store"]
    """What the plugin is. A source receives from a service when a topic for messages from the cloud is set; its configuration has
    a field `topic`, which the router sets."""
    type: str
    """Its name, as in `type: aws-sqs`; the sink, source or store gets the same name."""
    variables: tuple[Variable, ...]
    """What fills its configuration."""
    unused: tuple[str, ...] = ()
    """Names that users of other systems have set too; accepted, not demanded, not used."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the configuration, such as one object for each message."""


def line_breaks(text: str) -> str:
    r"""A `Variable.convert` for PEM keys: the two characters `\n` become a line break."""
    return text.replace("\\n", "\n")


def only(*allowed: str) -> Callable[[str], str]:
    """A `Variable.convert` that lets nothing else pass."""

    def check(text: str) -> str:
        if text.strip() not in allowed:
            raise ValueError(f"should be {' or '.join(allowed)}")
        return text.strip()

    return check
