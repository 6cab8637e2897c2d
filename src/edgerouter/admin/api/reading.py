"""Endpoints that only read: status, sources, sinks, certificates, configuration, version."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from edgerouter import __version__, plugins
from edgerouter.admin.api.endpoint import Call
from edgerouter.admin.certificates import CertificateStatus
from edgerouter.admin.observation import begun
from edgerouter.admin.status import RouterStatus, SinkStatus, SourceStatus
from edgerouter.config.describe import effective
from edgerouter.config.model import RouterConfig
from edgerouter.steering import NoSuchPart

MOST_ITEMS: Final = 1000

ItemT = TypeVar("ItemT")
StructT = TypeVar("StructT", bound=msgspec.Struct)


class NamesAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of things with names, in alphabetical order."""

    after: str = ""
    """Only names behind this one."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] = 100


class NumbersAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of things in a fixed order."""

    after: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    """Number of items before the page."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] = MOST_ITEMS


class Sink(SinkStatus, frozen=True, kw_only=True):
    """One sink that runs, with its name."""

    name: str


class Source(SourceStatus, frozen=True, kw_only=True):
    """One source, with its name."""

    name: str


class SinksPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sinks by name."""

    items: list[Sink]
    next: str | None
    """`after` of the next page; null behind the last one."""


class SourcesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sources by name."""

    items: list[Source]
    next: str | None
    """`after` of the next page; null behind the last one."""


class CertificatesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Certificate files that the configuration names."""

    items: list[CertificateStatus]
    next: int | None
    """`after` of the next page; null behind the last one."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the configuration."""

    path: str
    """`sinks.alerts.batch.linger`."""
    value: str
    """As in a YAML file; a secret is masked."""
    origin: str
    """File, line and column, a variable, a secret store, `default`, or `derived`."""


class ConfigurationPage(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that is in effect."""

    file: str
    """Path of the file, or `environment`."""
    error: str
    """Reason for refusing the last reload; empty when it was not refused."""
    notes: list[str]
    """Parts that are left out, and variables that look misspelt."""
    items: list[Setting]
    next: int | None
    """`after` of the next page; null behind the last one."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin."""

    kind: str
    name: str
    distribution: str
    version: str


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The program."""

    version: str
    python: str
    plugins: list[Plugin]


async def status(call: Call) -> RouterStatus:
    """Return the status of the whole router."""
    await begun(call.router.running)
    return call.router.status()


async def sinks(call: Call) -> SinksPage:
    """Return a page of sinks."""
    asked: NamesAsked = call.asked
    items, following = _page(call.router.status().sinks, asked)
    return SinksPage(items=[_named(Sink, *item) for item in items], next=following)


async def sources(call: Call) -> SourcesPage:
    """Return a page of sources."""
    asked: NamesAsked = call.asked
    items, following = _page(call.router.status().sources, asked)
    return SourcesPage(items=[_named(Source, *item) for item in items], next=following)


async def sink(call: Call) -> Sink:
    """Return one sink."""
    return _named(Sink, *_found(call, "sink", call.router.status().sinks))


async def source(call: Call) -> Source:
    """Return one source."""
    return _named(Source, *_found(call, "source", call.router.status().sources))


async def certificates(call: Call) -> CertificatesPage:
    """Return the certificate files."""
    asked: NumbersAsked = call.asked
    items, following = _slice(call.router.certificates.status, asked)
    return CertificatesPage(items=items, next=following)


async def configuration(call: Call) -> ConfigurationPage:
    """Return the values of the configuration, as `edgerouter config` shows them."""
    asked: NumbersAsked = call.asked
    config = call.router.config
    items, following = _slice(await asyncio.to_thread(_settings, config), asked)
    return ConfigurationPage(
        file=str(config.file or "environment"),
        error=call.router.status().configuration_error,
        notes=[*config.off, *config.unread],
        items=items,
        next=following,
    )


async def version(_: Call) -> Version:
    """Return the versions of program and plugins."""
    found = await asyncio.to_thread(plugins.listing)
    listed = [Plugin(kind=each.kind, name=each.name, distribution=each.distribution, version=each.version) for each in found]
    return Version(version=__version__, python=platform.python_version(), plugins=listed)


def _settings(config: RouterConfig) -> list[Setting]:
    return [Setting(path=value.dotted, value=value.text, origin=value.origin) for value in effective.values(config)]


def _named(kind: type[StructT], name: str, status: msgspec.Struct) -> StructT:
    return kind(name=name, **{field: getattr(status, field) for field in status.__struct_fields__})


def _found(call: Call, kind: str, by_name: Mapping[str, ItemT]) -> tuple[str, ItemT]:
    name = call.path["name"]
    if name not in by_name:
        raise NoSuchPart(kind, name, by_name)
    return name, by_name[name]


def _page(by_name: Mapping[str, ItemT], asked: NamesAsked) -> tuple[list[tuple[str, ItemT]], str | None]:
    behind = sorted(name for name in by_name if name > asked.after)
    names = behind[: asked.limit]
    return [(name, by_name[name]) for name in names], names[-1] if len(behind) > len(names) else None


def _slice(items: Iterable[ItemT], asked: NumbersAsked) -> tuple[list[ItemT], int | None]:
    all_items = list(items)
    end = asked.after + asked.limit
    return all_items[asked.after : end], end if end < len(all_items) else None
