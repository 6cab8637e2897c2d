"""Find and resolve references such as `${env:NAME}`, `${file:/run/secrets/x}` and `${vault:name}`.

`env` and `file` are resolved while loading; a reference to a secret store is resolved each time its source or sink opens.
`$${` stands for a literal `${`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import ValidationError

from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import ConfiguredSecretStore, ConfiguredSink, ConfiguredSource
from edgerouter.config.protection import protect_reference
from edgerouter.config.store_faults import counted_as_down
from edgerouter.config.tree import Node, Origin, PendingText
from edgerouter.errors import Unavailable
from edgerouter.secrets import SecretStoreContext

_PARTS: Final = re.compile(r"\$\$\{|\$\{(?:(?P<kind>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<name>[^}]*)\})?")
_DEFAULT: Final = ":-"
_MOST_BYTES: Final = 1024 * 1024
_STORE_SECONDS: Final = 20.0
"""Time for a store to give all that one sink needs, before the last known values count; less than a sink's `timeout`."""

log = structlog.get_logger("edgerouter.secrets")


def substitute(tree: Node, environ: Mapping[str, str], folder: Path) -> list[tuple[Origin, str]]:
    """Resolve `env` and `file` in every text of the tree, in place, and note the references to stores.

    Texts that refer to a store keep their references and their `$${`, until `fill`.

    Args:
        tree: the whole configuration.
        environ: the environment.
        folder: what a relative path of `file` starts from.

    Returns:
        Where a reference cannot be resolved, and why; never with a value.
    """
    problems: list[tuple[Origin, str]] = []
    for place, node in tree.walk():
        if not isinstance(node.value, str) or "${" not in node.value:
            continue
        try:
            _substitute(node, environ, folder)
        except ValueError as error:
            path = ".".join(map(str, place))
            problems.append((node.origin, f"{path}: {error}"))
    return problems


def _substitute(node: Node, environ: Mapping[str, str], folder: Path) -> None:
    text = str(node.value)
    pending = tuple((kind, name) for kind, name in _references(text) if kind not in ("env", "file"))
    resolved: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "$${" if pending else "${"
        kind, name = match["kind"], match["name"]
        if kind not in ("env", "file"):
            return match[0]
        resolved.append(match[0].partition(_DEFAULT)[0].rstrip("}") + "}")
        found, secret = _env(name, environ) if kind == "env" else (_file(name, folder), True)
        if secret:
            protect_reference(found)
        # what stands in a secret is not read as references again
        return found.replace("${", "$${") if pending else found

    node.value = _PARTS.sub(value, text)
    node.pending = pending
    if resolved:
        node.reference = " and ".join(resolved)


def _references(text: str) -> Iterator[tuple[str, str]]:
    for match in _PARTS.finditer(text):
        if match[0] == "$${":
            continue
        if match["kind"] is None or not match["name"]:
            raise ValueError(
                "`${` starts a reference such as ${env:NAME} or ${file:/path}; write $${ for the two characters themselves"
            )
        yield match["kind"], match["name"]


def _env(name: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return the value, and false for a default that was written in the file."""
    name, separator, default = name.partition(_DEFAULT)
    if found := environ.get(name):
        return found, True
    if separator:
        return default, False
    if name in environ:
        return "", False
    raise ValueError(f"${{env:{name}}}: the variable is not set")


def _file(name: str, folder: Path) -> str:
    path = folder / name
    try:
        if path.is_dir():
            raise ValueError(f"${{file:{name}}}: is a directory")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"${{file:{name}}}: {error.strerror or type(error).__name__}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"${{file:{name}}}: has more than {_MOST_BYTES} bytes")
    try:
        # tools that write secrets to files often end them with a newline that does not belong to the secret
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"${{file:{name}}}: is not UTF-8 text") from None


def fill(raw: Any, secrets: Mapping[tuple[str, str], str]) -> Any:
    """Return the value with each reference to a store replaced by its secret; every other text stays."""
    if isinstance(raw, PendingText):
        return _PARTS.sub(lambda match: "${" if match[0] == "$${" else secrets[match["kind"], match["name"]], raw)
    if isinstance(raw, Mapping):
        return {key: fill(value, secrets) for key, value in raw.items()}
    if isinstance(raw, list | tuple):
        return [fill(value, secrets) for value in raw]
    return raw


async def resolve(
    configured: ConfiguredSink | ConfiguredSource,
    stores: Sequence[ConfiguredSecretStore],
    last_known: LastKnown | None = None,
    *,
    probe: bool = False,
) -> Any:
    """Return the plugin's configuration with the newest value of every secret; called each time a sink or source opens.

    Args:
        configured: a sink or a source.
        stores: `RouterConfig.secret_stores`.
        last_known: what counts while a store is down; nothing without it.
        probe: for `check --connect`; see `SecretStoreContext.probe`.

    Raises:
        Unavailable: a store does not give a secret, or the secret does not fit its field.
    """
    if not configured.pending:
        return configured.config
    secrets = await _fetch(configured.pending, stores, last_known or LastKnown(), probe=probe)
    try:
        return configured.plugin.Config.model_validate(fill(configured.raw, secrets))
    except ValidationError as error:
        fields = sorted({".".join(map(str, found["loc"])) or "its fields together" for found in error.errors(include_input=False)})
        # neither the reason nor the cause is shown: both may hold the secret
        names = ", ".join(f"${{{store}:{name}}}" for store, name in configured.pending)
        raise Unavailable(f"not valid with what {names} holds now: {', '.join(fields)}") from None


async def _fetch(
    pending: Sequence[tuple[str, str]], stores: Sequence[ConfiguredSecretStore], last_known: LastKnown, *, probe: bool
) -> dict[tuple[str, str], str]:
    by_name = {store.name: store for store in stores}
    wanted: dict[str, list[str]] = {}
    for store, name in dict.fromkeys(pending):
        wanted.setdefault(store, []).append(name)
    secrets: dict[tuple[str, str], str] = {}
    for store, names in wanted.items():
        try:
            async with asyncio.timeout(_STORE_SECONDS) as bound:
                with counted_as_down(store):
                    await _ask(by_name[store], SecretStoreContext(store, probe), names, secrets, last_known)
        except (Unavailable, TimeoutError) as error:
            if not isinstance(error, Unavailable) and not bound.expired():
                raise
            failure = error if isinstance(error, Unavailable) else Unavailable(f"secret store {store}: no answer in time")
            for name in names:
                value = last_known.value(store, name)
                if value is None:
                    raise failure from error
                secrets[store, name] = value
                protect_reference(value)
            log.warning("a secret store does not give its secrets, the last known ones are used", store=store, reason=str(failure))
    return secrets


async def _ask(
    configured: ConfiguredSecretStore,
    context: SecretStoreContext,
    names: Sequence[str],
    secrets: dict[tuple[str, str], str],
    last_known: LastKnown,
) -> None:
    async with configured.plugin.open(configured.config, context) as store:
        for name in names:
            value = await store.get(name)
            secrets[configured.name, name] = value
            protect_reference(value)
            last_known.keep(configured.name, name, value)
