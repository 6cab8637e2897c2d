"""`edgerouter bundle`: collects what is needed to answer a question, from a running, stopped or hanging router."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from edgerouter import plugins
from edgerouter.admin.client import Client, NoRouter, Refused, Unanswered
from edgerouter.bundle import facts, log_tail, spool_copy
from edgerouter.bundle.archive import Entry, Part, masked_json, write
from edgerouter.cli.doctor import run as examine
from edgerouter.cli.doctor import wish
from edgerouter.cli.output import counted, say
from edgerouter.config.describe import effective
from edgerouter.config.model import LogConfig, RouterConfig, SpoolConfig, SpoolSection
from edgerouter.doctor.machine.process import Measured, measured
from edgerouter.errors import ConfigurationError, EdgerouterError
from edgerouter.logs.setup import configure

_ANSWER_SECONDS: Final = 5.0
_VERIFY_SECONDS: Final = 120.0
_PAGES: Final = {
    "events.json": "/api/v1/events",
    "sinks.json": "/api/v1/sinks",
    "sources.json": "/api/v1/sources",
    "certificates.json": "/api/v1/certificates",
    "configuration-in-effect.json": "/api/v1/configuration",
    "version.json": "/api/v1/version",
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")

Load = Callable[[], RouterConfig]


class _Router:
    """The router as far as it answers; once it has not, nothing more is asked."""

    def __init__(self, folder: Path) -> None:
        self._client = Client(folder)
        self.stopped = False
        self.silent = ""

    def part(self, name: str, path: str, *, method: str = "GET", seconds: float = _ANSWER_SECONDS) -> Part:
        """Return an answer of the router, or the reason why there is none."""
        if self.silent:
            return Part(name, missing=self.silent)
        try:
            answer = self._client.ask(method, path, {}, seconds=seconds)
        except NoRouter as error:
            self.stopped, self.silent = True, str(error)
        except Unanswered as error:
            self.silent = f"{error} within {seconds:g} s"
            return Part(name, missing=str(error))
        except (Refused, ValueError) as error:
            return Part(name, missing=str(error))
        else:
            # /metrics is not JSON
            return Part(name, answer["detail"] if name.endswith(".txt") else masked_json(answer))
        return Part(name, missing=self.silent)


def bundle(spool: SpoolSection, load: Load, *, output: Path | None, log: Path | None, with_doctor: bool) -> None:
    """Collect, write, and print what is in it.

    Args:
        spool: of the router.
        load: loads the configuration; it may fail.
        output: the file to write; by default a name with host and time in the working folder.
        log: the router's log file.
        with_doctor: also measure the broker, the machine and the way to the services.

    Raises:
        ConfigurationError: the file is there already, or cannot be written.
    """
    configure(LogConfig(level="error"))
    file = output or Path(_name())
    if os.path.lexists(file):
        raise ConfigurationError(f"--output: {file} exists already; a bundle replaces no file")
    config, problems = _configuration(load)
    process = measured(spool.path)
    parts = [*_of_router(spool, process, log), *_of_machine(process)]
    parts.append(
        Part("configuration.yaml", missing=problems) if config is None else Part("configuration.yaml", effective.as_yaml(config))
    )
    if with_doctor:
        parts.append(_doctor(config, problems))
    try:
        entries = write(file, sorted(parts, key=lambda part: part.name))
    except OSError as error:
        raise ConfigurationError(f"--output: {file}: {error.strerror}") from None
    _show(file, entries)


def _name() -> str:
    host = _UNSAFE.sub("-", socket.gethostname())[:64]
    return f"edgerouter-bundle-{host}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz"


def _configuration(load: Load) -> tuple[RouterConfig | None, str]:
    try:
        return load(), ""
    except EdgerouterError as error:
        return None, str(error)


def _of_router(spool: SpoolSection, process: Measured, log: Path | None) -> list[Part]:
    router = _Router(spool.path)
    parts = [router.part("status.json", "/api/v1/status"), router.part("metrics.txt", "/metrics")]
    parts += [router.part(name, path) for name, path in _PAGES.items()]
    if router.stopped:
        parts = [part for part in parts if part.name != "status.json"] + _of_stopped(spool)
    else:
        parts.append(router.part("verification.json", "/api/v1/verify", method="POST", seconds=_VERIFY_SECONDS))
    parts.append(log_tail.collect(log, process if process.is_router else None))
    return parts


def _of_stopped(spool: SpoolSection) -> list[Part]:
    names = {"status.json": "status", "verification.json": "verification"}
    if not isinstance(spool, SpoolConfig) or spool.type == "memory":
        reason = f"no router runs, and a spool of type {spool.type} is not looked at without one"
        return [Part(name, missing=reason) for name in names]
    try:
        found: dict[str, Any] = asyncio.run(spool_copy.look(spool))
    except (EdgerouterError, OSError) as error:
        return [Part(name, missing=str(error) or type(error).__name__) for name in names]
    return [Part(name, masked_json(found[key])) for name, key in names.items()]


def _of_machine(process: Measured) -> list[Part]:
    installed = [msgspec.to_builtins(each) for each in plugins.listing()]
    return [
        Part("machine.json", masked_json(facts.machine(process))),
        Part("packages.txt", facts.packages()),
        Part("plugins.json", masked_json(installed)),
    ]


def _doctor(config: RouterConfig | None, problems: str) -> Part:
    if config is None:
        return Part("doctor.json", missing=problems)
    try:
        return Part("doctor.json", masked_json(msgspec.to_builtins(examine(wish(config)))))
    except Exception as error:  # noqa: BLE001  (the other parts are worth having)
        return Part("doctor.json", missing=f"{type(error).__name__}: {error}")


def _show(file: Path, entries: list[Entry]) -> None:
    for entry in entries:
        say(f"  {entry.name}: missing: {entry.missing}" if entry.missing else f"  {entry.name}: {counted(entry.bytes, 'byte')}")
    say(f"{file} is written, for this user alone. Secrets are masked and payloads left out; topics, names and addresses are in it.")
    typer.echo("Look at it before you send it: tar -xzf, then read each file.")
