"""Configuration from the environment alone, with what its secret stores have said so far about which sinks are on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from edgerouter.config.assembly import Plugins
from edgerouter.config.last_known import LastKnown
from edgerouter.config.loading import assemble
from edgerouter.config.misspelt import misspelt
from edgerouter.config.model import ConfiguredSink, PluginKind, RouterConfig
from edgerouter.config.overlay import Environment, overlay
from edgerouter.config.protection import protect_environment
from edgerouter.config.validation import Problems
from edgerouter.errors import SecretMissing, Unauthorized, Unavailable
from edgerouter.secrets import SecretStoreContext
from edgerouter.tasks.backoff import full_jitter

# What reads the variables, and what stands in for stores and sinks, is imported when there is no file to read.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edgerouter.cloudblock.declared import Known, Lookup
    from edgerouter.cloudblock.store_chain import StoreChain
    from edgerouter.cloudblock.tree import Found
    from edgerouter.config.model import ConfiguredSecretStore
    from edgerouter.variables import Preset, Variables

log = structlog.get_logger("edgerouter.secrets")

_AT_ONCE: Final = 8
"""Questions under way together: there are dozens, and on a slow link each takes its time."""
FIRST_DELAY, MAX_DELAY = 1.0, 60.0
"""Upper bounds of the seconds between two rounds of asking secret stores that did not answer."""


class DeclaringPlugins(Plugins, Protocol):
    """Plugins, and the environment variables that switch them on; `edgerouter.plugins` has the installed ones."""

    def variables(self) -> Sequence[Variables]:
        """Return what the installed distributions declare; raises `PluginError`."""

    def presets(self) -> Sequence[Preset]:
        """Return the presets that the installed distributions declare; raises `PluginError`."""


class CloudBlock:
    """One environment. Load it again when its secret stores have said more.

    Args:
        environ: the environment.
        known: what the secret stores are known to have.
    """

    def __init__(self, environ: Mapping[str, str], known: Known | None = None) -> None:
        self._environ = environ
        self._known: Known = {} if known is None else known
        self.lookups: Mapping[str, Lookup] = {}
        """Variables that the stores of the last `load` are asked for, by the key of each."""
        self._stores: tuple[ConfiguredSecretStore, ...] = ()

    def load(self, plugins: DeclaringPlugins) -> RouterConfig:
        """Return the configuration, as far as it is known.

        Args:
            plugins: where plugins and their variables are found.

        Raises:
            ConfigurationError: one line for each thing that is wrong, sorted by place.
        """
        from edgerouter.cloudblock import presets, tree, unread

        protect_environment(self._environ)
        around = Environment(self._environ)
        variables = plugins.variables()
        found = tree.read(around, variables, dict(self._known))
        declared = plugins.presets()
        presets.add(found, declared, around)
        problems = Problems("environment")
        for origin, text in [*found.faults, *overlay(found.tree, around)]:
            problems.add(origin, text)
        found.off += unread.not_installed(around.names(), variables, declared)
        unread_lines = [*found.notes, *unread.misspelt(around.names(), variables, declared), *misspelt(around.names(), found.tree)]
        found.complete(problems)
        if not found.has_sinks:
            for line in (*found.off, *unread_lines):
                problems.add(None, line)
        whole = not found.faults
        config = assemble(found.tree, None, self._environ, _WithStandIns(plugins), problems, whole=whole)
        return self._finished(replace(config, off=tuple(found.off), unread=tuple(unread_lines)), found)

    def sink_names(self, plugins: DeclaringPlugins) -> set[str]:
        """Return the names of the sinks that the variables of plugins ask for, whether or not they could be opened."""
        from edgerouter.cloudblock import presets, tree

        around = Environment.readable(self._environ)
        found = tree.read(around, plugins.variables(), {})
        presets.add(found, plugins.presets(), around)
        return set(found.section("sinks"))

    @property
    def undecided(self) -> bool:
        """True while the secret stores have not said everything that decides which sinks are on."""
        return any(key not in self._known for key in self.lookups)

    async def ask(self, last_known: LastKnown) -> str:
        """Ask the stores of the last `load` what they have, as far as they answer.

        Args:
            last_known: says what they had when they were asked last, for those that do not answer.

        Returns:
            Why something is not known yet; empty when all is known.
        """
        from edgerouter.cloudblock.declared import CHAIN
        from edgerouter.cloudblock.store_chain import ChainConfig, StoreChain

        chain, known = ChainConfig(stores=self._stores, lookups=dict(self.lookups)), self._known
        unknown = [key for key in chain.lookups if key not in known]
        if not unknown:
            return ""
        refused: list[str] = []
        reason = ""
        places = asyncio.Semaphore(_AT_ONCE)

        async def find_out(key: str, stores: StoreChain) -> None:
            nonlocal reason
            try:
                async with places:
                    found, value = await stores.find(key)
            except SecretMissing:
                known[key] = None
            except Unauthorized as error:
                refused.append(key)
                reason = reason or str(error)
            except Unavailable as error:
                reason = reason or str(error)
            else:
                known[key] = found
                last_known.keep(CHAIN, key, value)

        async with StoreChain.open(chain, SecretStoreContext(CHAIN)) as stores:
            await stores.open_all()
            async with asyncio.TaskGroup() as tasks:
                for key in unknown:
                    tasks.create_task(find_out(key, stores), name=f"look up {key}")
        if any(known.get(key) for key in chain.lookups):
            # stores that let us in refuse what we may not read, whether or not it is there
            known |= dict.fromkeys(refused)
        before = last_known.known()
        last_known.keep_known(before | known)
        known |= {key: before[key] for key in unknown if key not in known and key in before}
        return reason if any(key not in known for key in chain.lookups) else ""

    async def keep_asking(self, last_known: LastKnown, reload: Callable[[], None]) -> None:
        """Ask at growing intervals until everything is known.

        Args:
            last_known: what the stores had when they were asked last.
            reload: called whenever the stores have said something new.
        """
        for attempt in count(1):
            if not self.undecided:
                return
            await asyncio.sleep(full_jitter(attempt, FIRST_DELAY, MAX_DELAY, floor=0.5))
            before = dict(self._known)
            try:
                await self.ask(last_known)
            except Exception:
                log.exception("a secret store failed with an error that it should not raise")
            if self._known != before:
                reload()

    def _finished(self, config: RouterConfig, found: Found) -> RouterConfig:
        """Return the configuration with the stand-ins filled in."""
        from edgerouter.cloudblock.declared import CHAIN
        from edgerouter.cloudblock.store_chain import ChainConfig

        by_name = {store.name: store for store in config.secret_stores}
        self._stores, self.lookups = tuple(by_name[name] for name in found.order if name in by_name), found.lookups
        asked = ChainConfig(stores=self._stores, lookups=found.lookups)
        chain = by_name.pop(CHAIN, None)
        return replace(
            config,
            # "secret x of store y" says more than a reference that the user did not write
            references={
                path: config.origins[path] if text.startswith(f"${{{CHAIN}:") else text for path, text in config.references.items()
            },
            sinks=tuple(map(_provisional_if_undecided, config.sinks)),
            secret_stores=(*by_name.values(), *([replace(chain, config=asked, listed=False)] if chain is not None else [])),
        )


def _provisional_if_undecided(sink: ConfiguredSink) -> ConfiguredSink:
    """Return a stand-in under the type of its sink, without what was written for that sink; other sinks as they are."""
    from edgerouter.cloudblock.undecided import UndecidedConfig, UndecidedSink

    if sink.plugin is not UndecidedSink:
        return sink
    return replace(sink, type=sink.name, config=UndecidedConfig(), raw={}, pending=(), provisional=True)


class _WithStandIns:
    """The installed plugins, the undecided sink, and all stores as one."""

    def __init__(self, plugins: Plugins) -> None:
        from edgerouter.cloudblock.declared import CHAIN
        from edgerouter.cloudblock.store_chain import StoreChain
        from edgerouter.cloudblock.undecided import UNDECIDED, UndecidedSink

        self._plugins = plugins
        self._stand_ins: Mapping[tuple[PluginKind, str], type[Any]] = {
            ("sink", UNDECIDED): UndecidedSink,
            ("secret_store", CHAIN): StoreChain,
        }

    def find(self, kind: PluginKind, name: str) -> type[Any]:
        return self._stand_ins.get((kind, name)) or self._plugins.find(kind, name)

    def names(self, kind: PluginKind) -> Sequence[str]:
        return self._plugins.names(kind)
