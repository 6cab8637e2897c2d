"""Plugins that declared variables switch on, and the configuration that the variables make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import AliasChoices, Field, create_model

from edgerouter.config.model import PLUGIN_SECTIONS, PluginKind
from edgerouter.config.overlay import Environment, Given
from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.variables import Variable, Variables

CHAIN: Final = "secret-stores"
"""Stands in references for all secret stores that are on, asked one after the other."""
BY_DECLARATION: Final = Origin("chosen because there is no file")

SECTIONS: Final[Mapping[PluginKind, str]] = {kind: section for section, kind in PLUGIN_SECTIONS.items()}
"""The section of each kind of plugin."""

Known: TypeAlias = dict[str, str | None]
"""Answers of the secret stores, by `Lookup.key`: the name under which it was found, or `None`; a missing key is not known yet."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A variable that is looked up in the secret stores."""

    key: str
    """Name in a reference to it."""
    names: tuple[str, ...]
    """Names of the secret, the newest first, and behind them those shared with other plugins."""
    variable: Variable


def secret_name(variable: str) -> str:
    """`AWS_SQS_REGION` -> `aws-sqs-region`."""
    return variable.lower().replace("_", "-")


def lookup(variable: Variable) -> Lookup:
    """Return the names under which this variable is looked up."""
    names = tuple(map(secret_name, (*variable.names, *variable.shared)))
    return Lookup(names[0], names, variable)


def read(declared: Sequence[Variables], environment: Environment) -> dict[Variable, Given]:
    """Return what is given for every declared variable, by the first of its names that is set."""
    from pydantic_settings import BaseSettings  # noqa: PLC0415  (a start with a file needs none of it)

    fields = {f"v{number}": variable for number, variable in enumerate(v for each in declared for v in each.variables)}
    aliases: dict[str, Any] = {
        field: (str | None, Field(None, validation_alias=AliasChoices(*variable.names, *variable.shared)))
        for field, variable in fields.items()
    }
    found = environment.read(create_model("_Declared", __base__=BaseSettings, **aliases))
    return {fields[field]: given for field, given in found.items()}


def names_set(declared: Sequence[Variables], environment: Environment) -> set[str]:
    """Return every declared name that is set."""
    there = {name.upper() for name in environment.names()}
    return {name for each in declared for name in names(each) if name.upper() in there}


def names(declaration: Variables) -> Iterator[str]:
    """Yield every name that belongs to a declaration."""
    for variable in declaration.variables:
        yield from variable.names
        yield from variable.shared
    yield from declaration.unused


@dataclass(slots=True)
class Form:
    """One declaration, and what there is for it."""

    declaration: Variables
    given: dict[Variable, Given]
    """From the environment."""
    elsewhere: dict[Variable, str]
    """Variables whose fields an `EDGEROUTER__` variable sets, with its label."""
    named: set[str]
    """Names of it that are set, without those that are shared."""
    found: dict[Variable, str] = field(default_factory=dict)
    """In the secret stores, by the name that was found."""
    unknown: list[Variable] = field(default_factory=list)
    """Not known yet: no secret store has answered for it."""

    @property
    def missing(self) -> list[Variable]:
        """Required and neither given nor found."""
        there = {*self.given, *self.elsewhere, *self.found, *self.unknown}
        return [each for each in self.declaration.variables if each.required and each not in there]

    @property
    def names(self) -> set[str]:
        """Every name that belongs to it."""
        return set(names(self.declaration))

    @property
    def wanted(self) -> set[str]:
        """Names of variables that are set and of secrets that exist: signs that the user wants this plugin."""
        own = {name for variable, name in self.found.items() if name in map(secret_name, variable.names)}
        ours = {label for variable, label in self.elsewhere.items() if variable.required}
        return self.named | own | ours

    def look(self, known: Known) -> list[Lookup]:
        """Take what the secret stores are known to have; returns everything that is looked up there."""
        lookups = []
        for variable in self.declaration.variables:
            if variable in self.given or variable in self.elsewhere:
                continue
            asked = lookup(variable)
            lookups.append(asked)
            if asked.key not in known:
                # what is not required is not waited for either
                self.unknown += [variable] if variable.required else []
            elif (name := known[asked.key]) is not None:
                self.found[variable] = name
        return lookups

    def nodes(self, stores: Sequence[str] = ()) -> tuple[dict[str, Node], list[Fault]]:
        """Return the plugin's part of the configuration; `stores` are asked for what is not given."""
        entries = {"type": Node(self.declaration.type, BY_DECLARATION, BY_DECLARATION), **_fixed(self.declaration.fixed)}
        faults: list[Fault] = []
        for variable, given in self.given.items():
            text, origin = given.text.strip(), Origin(given.label)
            try:
                text = variable.convert(text) if variable.convert is not None else unquoted(text)
            except ValueError as error:
                faults.append((origin, str(error)))
                continue
            # what stands in a variable is not read as references
            node = Node(text.replace("${", "$${"), origin, origin, reference=given.label if variable.secret else None)
            _place(entries, variable.field, node)
        for variable in (*self.found, *self.unknown):
            if variable.field is not None:
                asked = lookup(variable)
                origin = Origin(f"secret {self.found.get(variable, asked.key)} of {', '.join(stores)}")
                _place(entries, variable.field, Node(f"${{{CHAIN}:{asked.key}}}", origin, origin))
        return entries, faults


def unquoted(text: str) -> str:
    """Return the text unchanged when it is not in quotes.

    Compose takes those of `- NAME="value"` for a part of the value, and so does docker with those of `--env-file`.

    Raises:
        ValueError: it is in quotes.
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise ValueError("stands in quotes, which are part of the value; write it without them")
    return text


def _fixed(values: Mapping[str, Any]) -> dict[str, Node]:
    return {
        key: Node(_fixed(value) if isinstance(value, Mapping) else value, BY_DECLARATION, BY_DECLARATION)
        for key, value in values.items()
    }


def _place(entries: dict[str, Node], dotted: str | None, node: Node) -> None:
    if dotted is None:
        return
    *sections, last = dotted.split(".")
    for section in sections:
        inner = entries.setdefault(section, Node({}, node.origin, node.origin)).value
        assert isinstance(inner, dict), f"{dotted} is in a section"
        entries = inner
    entries[last] = node


def forms(declared: Sequence[Variables], environment: Environment, tuned: Node) -> dict[tuple[str, str], list[Form]]:
    """Return every declaration with what is given for it, by kind and type.

    Args:
        declared: by the distributions.
        environment: the environment.
        tuned: a tree with what `EDGEROUTER__` variables say of the declared plugins.
    """
    grouped: dict[tuple[str, str], list[Form]] = {}
    given, there = read(declared, environment), names_set(declared, environment)
    for each in declared:
        mine = {variable: given[variable] for variable in each.variables if variable in given}
        named = {name for name in there if name in each.unused or any(name in variable.names for variable in each.variables)}
        entry = tuned.child(SECTIONS[each.kind], each.type)
        elsewhere = {
            variable: label
            for variable in each.variables
            if variable.field and entry is not None and (label := _setter(entry, variable.field)) is not None
        }
        grouped.setdefault((each.kind, each.type), []).append(Form(each, mine, elsewhere, named))
    return grouped


def _setter(entry: Node, dotted: str) -> str | None:
    """Return the label of the variable that sets a field, if one does."""
    node = entry.child(*dotted.split("."))
    return node.origin.label if node is not None and node.value is not None else None


def choose(candidates: Sequence[Form]) -> Form:
    """Return the form that counts: a whole one to which all that is set belongs, else the one that lacks least."""
    everything = {name for form in candidates for name in form.named}
    whole = [form for form in candidates if not form.missing and everything <= form.names]
    return whole[0] if whole else min(candidates, key=lambda form: (len(everything - form.names), len(form.missing)))


def title(form: Form) -> str:
    """Return the plugin as a line names it."""
    return f"{form.declaration.kind.replace('_', ' ')} {form.declaration.type}"


def told(form: Form, stores: Sequence[str]) -> str:
    """Return the line about a plugin of which only some variables are set."""
    there = sorted({given.name for given in form.given.values()} | form.named | {*form.elsewhere.values()})
    there += sorted(f"secret {name}" for name in form.found.values())
    missing = [each.names[0] for each in form.missing]
    text = f"{title(form)} is off: {_listed(there, 'set')}, {_listed(missing, 'missing')}"
    if stores and form.declaration.kind == "sink":
        text += f" (also as secrets {', '.join(map(secret_name, missing))} in {', '.join(stores)})"
    return text


def _listed(names: Sequence[str], state: str) -> str:
    joined = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    return f"{joined} {'are' if len(names) > 1 else 'is'} {state}"
