"""The composition root: build the walk from a configuration, run it, drain it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from edgerouter import __version__
from edgerouter.admin.api.table import api_routes
from edgerouter.admin.certificates import Certificates
from edgerouter.admin.dashboard.routes import dashboard_routes
from edgerouter.admin.observation import make_metrics, observation_routes
from edgerouter.admin.server import control_folder, serve
from edgerouter.admin.status import RouterStatus, drops, ledgers, sink_status, source_status
from edgerouter.admin.streams import Streams
from edgerouter.admin.watching import Watching
from edgerouter.config.checks.batches import warn_of_batches_that_never_fill
from edgerouter.config.checks.loops import subscriptions
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import ConfiguredSink, ConfiguredSource, RouterConfig
from edgerouter.config.references import resolve
from edgerouter.errors import ConfigurationError
from edgerouter.loop_guard import LoopGuard
from edgerouter.masking import mask
from edgerouter.pipeline.intake import Intake, IntakeStatus
from edgerouter.pipeline.routing import Routing
from edgerouter.pipeline.runner import Runner
from edgerouter.pipeline.shaping.chain import Chain, StepNames
from edgerouter.pipeline.shaping.sink_steps import SinkSteps, shape_of
from edgerouter.pipeline.shaping.state import FileState
from edgerouter.pipeline.silence import Silence
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.pipeline.tap import Taps
from edgerouter.plugins import open_spool
from edgerouter.sink import SinkContext
from edgerouter.source import Source, SourceContext
from edgerouter.spool.contract import Route, Spool
from edgerouter.spool.identity import session_identity
from edgerouter.steering import RunningSink, RunningSource, Steering
from edgerouter.step import StepState
from edgerouter.tasks.bounded import CLOSING_SECONDS, ended, leaving_behind
from edgerouter.telemetry.disk_wear import DiskMeter
from edgerouter.telemetry.events import Events
from edgerouter.telemetry.export import Exporter, exporting
from edgerouter.telemetry.loop_watch import LoopWatch, by_top_level
from edgerouter.telemetry.spans import ExportStatus
from edgerouter.topics import Matcher

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
        self.streams = Streams()
        self.taps = Taps()
        self.certificates = Certificates()
        self._load = load
        self._config = config
        self._last_known = last_known or LastKnown()
        self._started_at = time.time()
        self._started = time.monotonic()
        self._spool: Spool | None = None
        self._sinks: dict[str, RunningSink] = {}
        self._sources: dict[str, RunningSource] = {}
        self._routing = Routing({})
        self._steps = SinkSteps(config.spool)
        self._routing_settled = asyncio.Event()
        self._routing_settled.set()
        self._tasks: asyncio.TaskGroup | None = None
        self._configuration_error = ""
        self._loops = LoopGuard()
        self._loops.subscribed(subscriptions(config.sources))
        self._disk = DiskMeter()
        self._exporter: Exporter | None = None
        self._loop_watch = LoopWatch(self._plugins_at_work)
        self._changing = asyncio.Lock()
        self.steering = Steering(self._sinks, self._sources, self._changing)
        """Pauses and resumes sinks and sources, and drains the router."""
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain within `shutdown.grace`.

        Args:
            stop: set it to end the run.

        Raises:
            SpoolUnusable: the spool's folder cannot be used.
        """
        with self._loop_watch.watching():
            async with open_spool(self._config.spool, self._config.host) as spool:
                self._spool = spool
                async with self._served(spool, stop), asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    await self.certificates.configure(self._config)
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
                    async with self._changing:  # a change in progress would start sinks that this drain does not stop
                        await self._drain()
                    for watch in watches:
                        watch.cancel()
        log.info("edgerouter stopped")

    async def _build(self, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        """Start the walk from its end, so that every sink has its position before a message comes in."""
        for sink in self._config.sinks:
            await self._start_sink(sink, spool, tasks)
        self._route()
        for source in self._config.sources:
            self._start_source(source, spool, tasks)
        warn_of_batches_that_never_fill(self._config)
        log.info("edgerouter runs", version=__version__, spool=spool.id, sources=list(self._sources), sinks=list(self._sinks))

    async def reload(self, config: RouterConfig) -> None:
        """Change to another configuration while running: only what differs is stopped and started.

        Sinks and sources that are the same keep their position, connection and batch. The spool, the control interface and the log
        are as they were at the start; a change of theirs takes effect at the next one.
        """
        async with self._changing:
            if not self._stopping and not self.steering.draining:
                await self._change(config)

    async def _change(self, config: RouterConfig) -> None:
        spool, tasks = self._spool, self._tasks
        assert spool is not None, "the router runs"
        assert tasks is not None, "the router runs"
        old = self._config
        if (old.spool, old.admin, old.log, old.telemetry) != (config.spool, config.admin, config.log, config.telemetry):
            log.warning("changes of spool, admin, log and telemetry take effect at the next start")
        config = replace(config, spool=old.spool, admin=old.admin, log=old.log, telemetry=old.telemetry)
        gone, stopped = _changed(self._sources, config.sources), _changed(self._sinks, config.sinks)
        await self._stop_sources(gone)
        # messages come in while the sinks close their clients, be it slowly
        await self._stop_sinks(stopped)
        self._routing_settled.clear()
        try:
            kept = {sink.name for sink in config.sinks}
            for name in stopped:
                sink = self._sinks.pop(name).configured
                if name not in kept:
                    await spool.detach(name)
                    if sink.provisional:
                        await spool.forget(name)
            new_sinks = [sink for sink in config.sinks if sink.name not in self._sinks]
            for new in new_sinks:
                await self._start_sink(new, spool, tasks)
            self._config = config
            self._route()
        finally:
            self._routing_settled.set()
        new_sources = [source for source in config.sources if source.name not in self._sources]
        for source in new_sources:
            self._start_source(source, spool, tasks)
        await self.certificates.configure(config)
        self._configuration_error = ""
        started = [*(sink.name for sink in new_sinks), *(source.name for source in new_sources)]
        log.info("configuration reloaded", stopped=[*gone, *stopped], started=started)
        changed = f"stopped {', '.join([*gone, *stopped]) or 'nothing'}, started {', '.join(started) or 'nothing'}"
        self.events.add("reloaded", "", f"configuration reloaded: {changed}")

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

    async def _stop_sources(self, names: list[str]) -> None:
        stopping = [self._sources.pop(name) for name in names]
        for source in stopping:
            source.intake.stop()
        await ended([source.task for source in stopping], timeout=CLOSING_SECONDS)

    async def _stop_sinks(self, names: list[str]) -> None:
        tasks = [self._sinks[name].task for name in names]
        for task in tasks:
            task.cancel()
        await ended(tasks, timeout=CLOSING_SECONDS)

    @property
    def config(self) -> RouterConfig:
        """The present configuration."""
        return self._config

    @property
    def spool(self) -> Spool:
        """The spool of the running router."""
        assert self._spool is not None, "the router runs"
        return self._spool

    def deliveries(self) -> list[tuple[str, DeliveryStatus]]:
        """Return the name of each sink with its numbers."""
        return [(name, sink.runner.status) for name, sink in self._sinks.items()]

    def intakes(self) -> list[tuple[str, IntakeStatus]]:
        """Return the name of each source with its numbers."""
        return [(name, source.intake.status) for name, source in self._sources.items()]

    def status(self) -> RouterStatus:
        """Return the router's numbers at this moment."""
        spool = self.spool
        faults = spool.faults
        return RouterStatus(
            version=__version__,
            host=self._config.host,
            started_at=self._started_at,
            uptime_seconds=time.monotonic() - self._started,
            configuration=str(self._config.file or "environment"),
            configuration_error=self._configuration_error,
            sources={name: source_status(s.configured.type, s.intake) for name, s in self._sources.items()},
            spool=spool.status,
            sinks={name: sink_status(sink.runner, faults.get(name, "")) for name, sink in self._sinks.items()},
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
        modules = [(f"sink {name}", sink.configured.plugin.__module__) for name, sink in list(self._sinks.items())]
        modules += [(f"source {name}", source.configured.plugin.__module__) for name, source in list(self._sources.items())]
        return by_top_level(modules)

    @asynccontextmanager
    async def _served(self, spool: Spool, stop: asyncio.Event) -> AsyncIterator[None]:
        """Serve the admin interface."""
        config = self._config
        metrics = make_metrics(self.status, self.deliveries)
        observation = observation_routes(self.status, metrics, self.running)
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
                serve([*observation, *api_routes(self), *dashboard_routes()], folder, config.admin, self.streams.close),
            ):
                yield

    async def _start_sink(self, configured: ConfiguredSink, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        policies = configured.policies
        matcher = Matcher(policies.topics)
        route = Route(
            configured.name, policies.topics, matcher, policies.start, drain=policies.drain, backlog_share=policies.backlog_share
        )
        shape = shape_of(policies)
        context = SinkContext(configured.name, self._config.host, spool.id, policies.timeout, shape=shape, loops=self._loops)
        reader = await spool.attach(route)
        secrets = partial(resolve, configured, self._config.secret_stores, self._last_known)
        steps, taps = self._steps.chain(configured, context), self.taps.sink(configured.name)
        runner = Runner(configured, reader, context, secrets, steps, spans=self._exporter, taps=taps)
        self.steering.started_sink(configured.name, runner)
        name = f"sink {configured.name}"
        task = tasks.create_task(leaving_behind(runner.run(), name), name=name)
        self._sinks[configured.name] = RunningSink(configured, runner, matcher, task)

    def _start_source(self, configured: ConfiguredSource, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        settings = self._config.spool
        steps = Chain(configured.steps, StepNames(configured.name, self._config.host)) if configured.steps else None
        commits = settings.commit_interval
        intake = Intake(
            configured.name,
            spool,
            lambda: self._routing,
            commits,
            self._routing_settled,
            steps=steps,
            silence=self._silence(configured),
            tap=self.taps.intake,
        )
        context = SourceContext(
            name=configured.name,
            host=self._config.host,
            spool=spool.id,
            flush_now=intake.flush_now,
            dropped=spool.count_dropped,
            connected=intake.connected,
            unacknowledged=spool.unacknowledged(configured.name),
            state=settings.path / "sources" / configured.name if settings.type != "memory" else None,
            identity=session_identity(settings, self._config.host, spool.id),
        )

        @asynccontextmanager
        async def open_source() -> AsyncIterator[Source[Any]]:
            config = await resolve(configured, self._config.secret_stores, self._last_known)
            async with configured.plugin.open(config, context) as source:
                yield source

        self.steering.started_source(configured.name, intake)
        name = f"source {configured.name}"
        task = tasks.create_task(leaving_behind(intake.run(open_source), name), name=name)
        self._sources[configured.name] = RunningSource(configured, intake, task)

    def _silence(self, configured: ConfiguredSource) -> Silence | None:
        """Return the watch over the topics that a source should bring."""
        if not configured.expect:
            return None
        spool = self._config.spool
        state = StepState() if spool.type == "memory" else FileState(spool.path / "sources" / configured.name / "expected")
        return Silence(configured.name, configured.expect, state, events=self.events)

    def _route(self) -> None:
        self._loops.subscribed(subscriptions(self._config.sources))
        self._routing = Routing({name: sink.matcher for name, sink in self._sinks.items()})

    async def _drain(self) -> None:
        """Stop the sources, deliver what is in the spool as far as time allows, close."""
        grace = 0.0 if self.steering.draining else self._config.shutdown.grace
        deadline = time.monotonic() + grace
        pending = sum(sink.runner.reader.ledger.pending for sink in self._sinks.values())
        log.info("edgerouter stops", pending=pending, grace_seconds=grace)
        for source in self._sources.values():
            source.intake.stop()
        for sink in self._sinks.values():
            sink.runner.drain()
        await ended([source.task for source in self._sources.values()], timeout=max(0.1, grace / 2))
        # polling is simpler than an event from every place that settles, and this is not a hot path
        while time.monotonic() < deadline and not all(sink.runner.drained for sink in self._sinks.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        left = {name: sink.runner.reader.ledger.pending for name, sink in self._sinks.items()}
        await self._stop_sinks(list(self._sinks))
        if any(left.values()):
            log.info("messages stay in the spool for the next start", pending=left)


def _changed(
    running: Mapping[str, RunningSink | RunningSource], configured: Iterable[ConfiguredSink | ConfiguredSource]
) -> list[str]:
    """Return the names of what runs and is configured otherwise now, or not any more."""
    digests = {each.name: each.digest for each in configured}
    return [name for name, each in running.items() if digests.get(name) != each.configured.digest]
