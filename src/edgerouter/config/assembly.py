"""Assemble the configuration from the tree of what the user wrote, with every problem at its place."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from edgerouter.config import overlay, unlisted_stores
from edgerouter.config.admin import AdminConfig
from edgerouter.config.checks import step_files
from edgerouter.config.digest import Digest
from edgerouter.config.model import (
    PLUGIN_SECTIONS,
    SECTIONS,
    ConfiguredSecretStore,
    ConfiguredSink,
    ConfiguredSource,
    ConfiguredStep,
    LogConfig,
    PluginKind,
    RouterConfig,
    SecretsConfig,
    ShutdownConfig,
    SinkPolicies,
    SourcePolicies,
)
from edgerouter.config.shaping import read_tests
from edgerouter.config.spool_type import spool_model
from edgerouter.config.telemetry import TelemetryConfig
from edgerouter.config.tree import Node, Origin, Place, pending_in
from edgerouter.config.validation import Part, Problems, dotted, nearest
from edgerouter.errors import PluginError
from edgerouter.section import Section

HERE: Final = Path("edgerouter.yaml")
SYSTEM: Final = Path("/etc/edgerouter/edgerouter.yaml")
"""Places of the file when none is named."""

_TOP: Final = (*PLUGIN_SECTIONS, *SECTIONS, "host", "tests")
_POLICIES: Final[Mapping[str, type[Section]]] = {"sources": SourcePolicies, "sinks": SinkPolicies}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

SectionT = TypeVar("SectionT", bound=Section)


class Plugins(Protocol):
    """Plugins by kind and name; `edgerouter.plugins` has the installed ones."""

    def find(self, kind: PluginKind, name: str) -> type[Any]:
        """Return the class of that name; raises `PluginError`."""

    def names(self, kind: PluginKind) -> Sequence[str]:
        """Return the names of the installed plugins."""


class Assembly:
    """One walk through the tree.

    Args:
        tree: what was written, by file and variables.
        plugins: where plugins are found.
        problems: gets what is wrong.
    """

    def __init__(self, tree: Node, plugins: Plugins, problems: Problems) -> None:
        self._tree = tree
        self._plugins = plugins
        self._find = cache(plugins.find)  # a scan of all installed packages for each sink takes time
        self._problems = problems

    def run(self, path: Path | None, *, whole: bool = True) -> RouterConfig:
        """Return the configuration; use it only when no problem was found."""
        for key in self._entries(()):
            if key not in _TOP:
                self._problems.at(self._tree, (key,), "unknown key" + nearest(key, _TOP), key=True)
        sources = tuple(filter(None, [self._source(name) for name in self._names("sources")]))
        sinks = tuple(filter(None, [self._sink(name) for name in self._names("sinks")]))
        if whole:
            self._need_one("sources", path)
            self._need_one("sinks", path)
        return RouterConfig(
            sources=sources,
            sinks=sinks,
            secret_stores=self._stores(),
            spool=self._section("spool", spool_model(self._tree, self._find, self._problems)),
            admin=self._section("admin", AdminConfig),
            log=self._section("log", LogConfig),
            shutdown=self._section("shutdown", ShutdownConfig),
            host=self._host(),
            file=path,
            origins={
                dotted(place): node.origin.label for place, node in self._tree.walk() if not isinstance(node.value, dict | list)
            },
            references={
                dotted(place): node.reference or str(node.value)
                for place, node in self._tree.walk()
                if node.reference is not None or node.pending
            },
            secrets=self._section("secrets", SecretsConfig),
            telemetry=self._section("telemetry", TelemetryConfig),
            tests=read_tests(self._tree, self._entries(("sinks",)), self._problems),
        )

    def _entries(self, place: Place) -> dict[str, Node]:
        """Return the mapping at a place; nothing written there counts as an empty one."""
        node = self._tree.child(*place)
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._problems.at(self._tree, place, "should be a mapping")
            return {}
        return node.value

    def _names(self, section: str) -> list[str]:
        names = list(self._entries((section,)))
        for name in names:
            if not _NAME.fullmatch(name):
                reason = "a name has at most 64 letters, digits, `-`, `_` and `.`, and begins with a letter or digit"
                self._problems.at(self._tree, (section, name), reason, key=True)
        return names

    def _need_one(self, section: str, path: Path | None) -> None:
        node = self._tree.child(section)
        if node is not None and node.value not in (None, {}):
            return
        reason = f"at least one {section.removesuffix('s')} is needed"
        if path is not None:
            self._problems.at(self._tree, (section,), reason, key=True)
            return
        variables = f"{overlay.PREFIX}{section.upper()}__..., nor those of a plugin"
        reason += f"; there is no {HERE} here and no {SYSTEM}, and no variables set one up, neither {variables}"
        self._problems.add(None, f"{section}: {reason}")

    def _section(self, name: str, model: type[SectionT]) -> SectionT:
        node = Node(dict(self._entries((name,))), Origin(""))
        self._no_stores((name,), node)
        return Part(self._tree, (name,), node).validate(model, self._problems) or model.model_construct()

    def _host(self) -> str:
        node = self._tree.child("host")
        if node is None or node.value is None:
            return socket.gethostname()
        self._no_stores(("host",), node)
        value = node.text if node.text is not None else node.value
        if isinstance(value, str) and value.strip():
            return value
        self._problems.at(self._tree, ("host",), "is empty" if isinstance(value, str) else "should be a text")
        return ""

    def _plugin(self, section: str, name: str) -> tuple[str, type[Any]] | None:
        """Return the type that the user wrote and its class."""
        kind = PLUGIN_SECTIONS[section]
        entries = self._entries((section, name))
        if self._is_not_a_mapping(section, name):
            return None
        node = entries.get("type")
        if node is None or node.value is None:
            installed = ", ".join(self._plugins.names(kind)) or "none"
            self._problems.at(self._tree, (section, name, "type"), f"is missing; installed: {installed}")
            return None
        wanted = node.text if node.text is not None else node.value
        if not isinstance(wanted, str) or node.pending:
            self._problems.at(self._tree, (section, name, "type"), "should be the name of a plugin")
            return None
        try:
            return wanted, self._find(kind, wanted)
        except PluginError as error:
            for problem in error.problems:
                self._problems.at(self._tree, (section, name, "type"), problem)
            return None

    def _is_not_a_mapping(self, section: str, name: str) -> bool:
        """Return true where something else is written, which `_entries` has reported."""
        node = self._tree.child(section, name)
        return node is not None and node.value is not None and not isinstance(node.value, dict)

    def _part(self, section: str, name: str, keys: set[str], also: set[str]) -> Part:
        """Return some of the keys of one sink, source or store."""
        entries = {key: node for key, node in self._entries((section, name)).items() if key in keys}
        return Part(self._tree, (section, name), Node(entries, Origin("")), frozenset(also))

    def _configured(
        self, section: str, name: str, *policies: Section, steps: Sequence[ConfiguredStep] = ()
    ) -> dict[str, Any] | None:
        """Return the fields of a `Configured`; `None` after reporting what is wrong."""
        found = self._plugin(section, name)
        if found is None:
            return None
        kind, plugin = found
        others = {"type", *(_POLICIES[section].model_fields if section in _POLICIES else ())}
        part = self._part(section, name, set(self._entries((section, name))) - others, others)
        config = part.validate(plugin.Config, self._problems)
        if config is None:
            return None
        digest = Digest(kind, *policies, config, files=[step.config.contents for step in steps])
        own = {"name": name, "plugin": plugin, "config": config, "digest": digest, "type": kind}
        return own | {"raw": part.node.plain(), "pending": pending_in(part.node)}

    def _source(self, name: str) -> ConfiguredSource | None:
        policies = self._policies("sources", name, SourcePolicies)
        written = policies is not None and (policies.steps or policies.expect)
        # a source without policies keeps the digest that it had before there were any
        steps = self._steps(("sources", name, "steps"))
        found = self._configured("sources", name, *([policies] if policies is not None and written else []), steps=steps)
        for number, step in enumerate(steps):
            if step.plugin.stateful or step.plugin.holds:
                reason = f"{step.type!r} depends on earlier messages, and works only in the steps of a sink"
                self._problems.at(self._tree, ("sources", name, "steps", number, "type"), reason)
            elif step.config.on_error == "dead_letter":
                reason = "`on_error: dead_letter` works only in the steps of a sink; write pass or drop"
                self._problems.at(self._tree, ("sources", name, "steps", number, "on_error"), reason)
        if found is None or policies is None:
            return None
        return ConfiguredSource(steps=steps, expect=policies.expect, **found)

    def _policies(self, section: str, name: str, model: type[SectionT]) -> SectionT | None:
        part = self._part(section, name, set(model.model_fields), set())
        self._no_stores((section, name), part.node)
        return part.validate(model, self._problems)

    def _steps(self, place: Place) -> tuple[ConfiguredStep, ...]:
        """Return the steps of a sink or source; what is wrong with the list itself is reported with the other policies."""
        node = self._tree.child(*place)
        if node is None or not isinstance(node.value, list):
            return ()
        return tuple(filter(None, [self._step((*place, number)) for number in range(len(node.value))]))

    def _step(self, place: Place) -> ConfiguredStep | None:
        entries = self._tree.entries(*place)
        wanted = entries["type"].value if "type" in entries else None
        if not isinstance(wanted, str):
            return None
        try:
            plugin = self._find("step", wanted)
        except PluginError as error:
            for problem in error.problems:
                self._problems.at(self._tree, (*place, "type"), problem)
            return None
        own = Node({key: node for key, node in entries.items() if key != "type"}, Origin(""))
        if pending_in(own):
            return None  # reported with the policies
        for inner, reason in step_files.faults(own, plugin.Config):
            self._problems.at(self._tree, (*place, *inner), reason)
        config = Part(self._tree, place, own, frozenset({"type"})).validate(plugin.Config, self._problems)
        return ConfiguredStep(type=wanted, plugin=plugin, config=config) if config is not None else None

    def _sink(self, name: str) -> ConfiguredSink | None:
        policies = self._policies("sinks", name, SinkPolicies)
        steps = self._steps(("sinks", name, "steps"))
        found = self._configured("sinks", name, *([] if policies is None else [policies]), steps=steps)
        return ConfiguredSink(policies=policies, steps=steps, **found) if policies is not None and found is not None else None

    def _stores(self) -> tuple[ConfiguredSecretStore, ...]:
        listed = self._names("secret_stores")
        stores = [self._store(name) for name in listed]
        stores += unlisted_stores.used(self._tree, listed, self._plugins.names("secret_store"), self._find, self._problems)
        return tuple(filter(None, stores))

    def _store(self, name: str) -> ConfiguredSecretStore | None:
        if name in ("env", "file"):
            self._problems.at(self._tree, ("secret_stores", name), f"${{{name}:...}} is built in; choose another name", key=True)
        self._no_stores(("secret_stores", name), Node(dict(self._entries(("secret_stores", name))), Origin("")))
        found = self._configured("secret_stores", name)
        return ConfiguredSecretStore(**found) if found is not None else None

    def _no_stores(self, place: Place, part: Node) -> None:
        for inner, node in part.walk():
            if node.pending:
                store = node.pending[0][0]
                reason = (
                    f"${{{store}:...}} works only in the own fields of a source or sink; here use ${{env:NAME}} or ${{file:/path}}"
                )
                self._problems.at(self._tree, (*place, *inner), reason)
