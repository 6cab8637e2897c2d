"""The composition root: build the walk from a configuration, run it, drain it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from edgerouter import __version__
from edgerouter.admin.certificates import Certificates
from edgerouter.admin.on_demand import control_folder, control_interface, make_metrics
from edgerouter.admin.open_streams import OpenStreams
from edgerouter.admin.status import RouterStatus, drops, ledgers, sink_status, source_status
from edgerouter.admin.watching import Watching
from edgerouter.config.checks.batches import warn_of_batches_that_never_fill
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError
from edgerouter.masking import mask
from edgerouter.pipeline.intake import IntakeStatus
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.plugins import open_spool
from edgerouter.spool.contract import Spool
from edgerouter.steering import deliver_rest
from edgerouter.tasks.bounded import ended
from edgerouter.telemetry.disk_wear import DiskMeter
from edgerouter.telemetry.events import Events
from edgerouter.telemetry.export import Exporter, exporting
from edgerouter.telemetry.loop_watch import LoopWatch, by_top_level
from edgerouter.telemetry.spans import ExportStatus
from edgerouter.walk import Walk, changed

log = structlog.get_logger("edgerouter.app")


class Router:
    """One router: sources, spool and sinks of one configuration.

    Args:
        config: a valid configuration.
        last_known: the secrets that count while their store is down.
        load: reads the configuration again.
    """

    def __init__(
        self, config: RouterConfig, last_known: LastKnown | None = None, load: Callable[[], RouterConfig] | None = None
    ) -> None:
        self.running = asyncio.Event()
        """Set once everything is started."""
        self.events = Events()
        self.streams = OpenStreams()
        self.certificates = Certificates()
        self._load = load
        self._walk = Walk(config, last_known or LastKnown(), self.events)
        self._started_at = time.time()
        self._started = time.monotonic()
        self._spool: Spool | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._configuration_error = ""
        self._disk = DiskMeter()
        self._exporter: Exporter | None = None
        self._loop_watch = LoopWatch(self._plugins_at_work)
        self.steering = self._walk.steering
        """Pauses and resumes sinks and sources, and drains the router."""
        self.taps = self._walk.taps
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain within `shutdown.grace`.

        Args:
            stop: set it to end the run.

        Raises:
            SpoolUnusable: the spool's folder cannot be used.
        """
        with self._loop_watch.watching():
            async with open_spool(self.config.spool, self.config.host) as spool:
                self._spool = spool
                async with self._served(spool, stop), asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    await self.certificates.configure(self.config)
                    watches = [
                        tasks.create_task(self.certificates.watch(), name="watch certificates"),
                        tasks.create_task(Watching(self).run(), name="record events"),
                    ]
                    await self._build(spool, tasks)
                    self.running.set()
                    self.events.add("started", "", f"edgerouter {__version__} runs")
                    await stop.wait()
                    self._stopping = True
                    self.events.add("stopping", "", "edgerouter stops")
                    async with self._walk.changing:  # a change in progress would start sinks that this drain does not stop
                        await self._drain()
                    for watch in watches:
                        watch.cancel()
        log.info("edgerouter stopped")

    async def _build(self, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        """Start the walk from its end, so that every sink has its position before a message comes in."""
        for sink in self.config.sinks:
            await self._walk.start_sink(sink, spool, tasks, self._exporter)
        self._walk.route()
        for source in self.config.sources:
            self._walk.start_source(source, spool, tasks)
        warn_of_batches_that_never_fill(self.config)
        running = {"sources": list(self._walk.sources), "sinks": list(self._walk.sinks)}
        log.info("edgerouter runs", version=__version__, spool=spool.id, **running)

    async def reload(self, config: RouterConfig) -> None:
        """Change to another configuration while running: only what differs is stopped and started.

        Sinks and sources that are the same keep their position, connection and batch. The spool, the control interface and the log
        are as they were at the start; a change of theirs takes effect at the next one.
        """
        async with self._walk.changing:
            if not self._stopping and not self.steering.draining:
                await self._change(config)

    async def _change(self, config: RouterConfig) -> None:
        spool, tasks = self._spool, self._tasks
        assert spool is not None, "the router runs"
        assert tasks is not None, "the router runs"
        old, walk = self.config, self._walk
        if (old.spool, old.admin, old.log, old.telemetry) != (config.spool, config.admin, config.log, config.telemetry):
            log.warning("changes of spool, admin, log and telemetry take effect at the next start")
        config = replace(config, spool=old.spool, admin=old.admin, log=old.log, telemetry=old.telemetry)
        gone, stopped = await changed(walk.sources, config.sources), await changed(walk.sinks, config.sinks)
        await walk.stop_sources(gone)
        # messages come in while the sinks close their clients, be it slowly
        await walk.stop_sinks(stopped)
        walk.settled.clear()
        walk.config = config
        try:
            kept = {sink.name for sink in config.sinks}
            for name in stopped:
                sink = walk.sinks.pop(name).configured
                if name not in kept:
                    await spool.detach(name)
                    if sink.provisional:
                        await spool.forget(name)
            new_sinks = [sink for sink in config.sinks if sink.name not in walk.sinks]
            for new in new_sinks:
                await walk.start_sink(new, spool, tasks, self._exporter)
            walk.route()
        finally:
            walk.settled.set()
        new_sources = [source for source in config.sources if source.name not in walk.sources]
        for source in new_sources:
            walk.start_source(source, spool, tasks)
        await self.certificates.configure(config)
        self._configuration_error = ""
        started = [*(sink.name for sink in new_sinks), *(source.name for source in new_sources)]
        log.info("configuration reloaded", stopped=[*gone, *stopped], started=started)
        changes = f"stopped {', '.join([*gone, *stopped]) or 'nothing'}, started {', '.join(started) or 'nothing'}"
        self.events.add("reloaded", "", f"configuration reloaded: {changes}")

    async def reload_file(self) -> None:
        """Read the configuration again and change to it.

        Raises:
            ConfigurationError: it cannot be used, and the present one stays.
        """
        assert self._load is not None, "the router was made with it"
        try:
            await self.reload(await asyncio.to_thread(self._load))
        except ConfigurationError as error:
            self.refuse(error)
            raise
        except Exception as error:  # the next change may be a better one
            log.exception("the configuration could not be changed")
            refused = ConfigurationError(f"{type(error).__name__}: {error}")
            self.refuse(refused)
            raise refused from error

    def refuse(self, error: ConfigurationError) -> None:
        """Keep the present configuration, and show in the status why a new one cannot be used."""
        self._configuration_error = mask(str(error))
        self.events.add("refused", "", f"configuration refused, the present one stays: {error}", level="error")
        for problem in error.problems:
            log.error("configuration refused, the present one stays", problem=problem)

    @property
    def config(self) -> RouterConfig:
        """The present configuration."""
        return self._walk.config

    @property
    def spool(self) -> Spool:
        """The spool of the running router."""
        assert self._spool is not None, "the router runs"
        return self._spool

    def deliveries(self) -> list[tuple[str, DeliveryStatus]]:
        """Return the name of each sink with its numbers."""
        return [(name, sink.runner.status) for name, sink in self._walk.sinks.items()]

    def intakes(self) -> list[tuple[str, IntakeStatus]]:
        """Return the name of each source with its numbers."""
        return [(name, source.intake.status) for name, source in self._walk.sources.items()]

    def status(self) -> RouterStatus:
        """Return the router's numbers at this moment."""
        spool = self.spool
        faults = spool.faults
        return RouterStatus(
            version=__version__,
            host=self.config.host,
            started_at=self._started_at,
            uptime_seconds=time.monotonic() - self._started,
            configuration=str(self.config.file or "environment"),
            configuration_error=self._configuration_error,
            sources={name: source_status(s.configured.type, s.intake) for name, s in self._walk.sources.items()},
            spool=spool.status,
            sinks={name: sink_status(sink.runner, faults.get(name, "")) for name, sink in self._walk.sinks.items()},
            detached=ledgers(spool, spool.status.orphans),
            drops=drops(spool),
            certificates=self.certificates.status,
            event_loop=self._loop_watch.status,
            disk=self._disk.status,
            export=self._exporter.status if self._exporter is not None else ExportStatus(),
            draining=self.steering.draining,
        )

    async def beat(self) -> None:
        """Return when the thread behind the spool has answered."""
        if self._spool is not None:
            await self._spool.beat()

    def _plugins_at_work(self) -> dict[str, str]:
        """Return the sinks and sources that each plugin outside the core serves, by the plugin's top-level module."""
        modules = [(f"sink {name}", sink.configured.plugin.__module__) for name, sink in list(self._walk.sinks.items())]
        modules += [(f"source {name}", source.configured.plugin.__module__) for name, source in list(self._walk.sources.items())]
        return by_top_level(modules)

    @asynccontextmanager
    async def _served(self, spool: Spool, stop: asyncio.Event) -> AsyncIterator[None]:
        """Serve the admin interface."""
        config = self.config
        metrics = make_metrics(self.status, self.deliveries)
        with control_folder(config.spool) as folder:
            self.steering.begin(spool, folder, stop)
            about = {
                "service.name": "edgerouter",
                "service.version": __version__,
                "service.instance.id": spool.id,
                "host.name": config.host,
            }
            async with (
                exporting(config.telemetry, about, lambda: metrics().families()) as self._exporter,
                control_interface(self, metrics, folder),
            ):
                yield

    @property
    def _drained(self) -> bool:
        return all(sink.runner.drained for sink in self._walk.sinks.values())

    async def _drain(self) -> None:
        """Stop the sources, deliver what is in the spool as far as time allows, close."""
        grace = 0.0 if self.steering.draining else self.config.shutdown.grace
        deadline = time.monotonic() + grace
        pending = sum(sink.runner.reader.ledger.pending for sink in self._walk.sinks.values())
        log.info("edgerouter stops", pending=pending, grace_seconds=grace)
        for source in self._walk.sources.values():
            source.intake.stop()
        for sink in self._walk.sinks.values():
            sink.runner.drain()
        await ended([source.task for source in self._walk.sources.values()], timeout=max(0.1, grace / 2))
        await deliver_rest(self.spool, left=lambda: not self._drained, ends=lambda: time.monotonic() >= deadline)
        left = {name: sink.runner.reader.ledger.pending for name, sink in self._walk.sinks.items()}
        await self._walk.stop_sinks(list(self._walk.sinks))
        if any(left.values()):
            log.info("messages stay in the spool for the next start", pending=left)
