"""The sources and sinks that run: start each from its configuration, stop it, and route between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from edgerouter.config.checks.loops import subscriptions
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import ConfiguredSink, ConfiguredSource, RouterConfig
from edgerouter.config.references import resolve
from edgerouter.loop_guard import LoopGuard
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.routing import Routing
from edgerouter.pipeline.runner import Runner
from edgerouter.pipeline.shaping.chain import Chain, StepNames
from edgerouter.pipeline.shaping.sink_steps import SinkSteps, shape_of
from edgerouter.pipeline.shaping.state import FileState
from edgerouter.pipeline.silence import Silence
from edgerouter.pipeline.tap import Taps
from edgerouter.sink import SinkContext
from edgerouter.source import Source, SourceContext
from edgerouter.spool.contract import Route, Spool
from edgerouter.spool.identity import session_identity
from edgerouter.steering import RunningSink, RunningSource, Steering
from edgerouter.step import StepState
from edgerouter.tasks.bounded import CLOSING_SECONDS, ended, leaving_behind
from edgerouter.telemetry.events import Events
from edgerouter.telemetry.export import Exporter
from edgerouter.topics import Matcher


class Walk:
    """Every source and sink of one router, by name.

    Args:
        config: the configuration to start from; set another one before its sinks and sources are started.
        last_known: the secrets that count while their store is down.
        events: receives the topics that fall silent.
    """

    def __init__(self, config: RouterConfig, last_known: LastKnown, events: Events) -> None:
        self.config = config
        self.sinks: dict[str, RunningSink] = {}
        self.sources: dict[str, RunningSource] = {}
        self.taps = Taps()
        self.changing = asyncio.Lock()
        """Held while another configuration takes the place of the present one, and at the end."""
        self.settled = asyncio.Event()
        """Cleared while sinks change; no message is stored meanwhile."""
        self.settled.set()
        self.steering = Steering(self.sinks, self.sources, self.changing)
        """Pauses and resumes sinks and sources, and drains the router."""
        self._last_known = last_known
        self._events = events
        self._routing = Routing({})
        self._steps = SinkSteps(config.spool)
        self._loops = LoopGuard()
        self._loops.subscribed(subscriptions(config.sources))

    async def start_sink(self, configured: ConfiguredSink, spool: Spool, tasks: asyncio.TaskGroup, spans: Exporter | None) -> None:
        """Attach a sink to the spool, and start it.

        Args:
            configured: the sink.
            spool: holds its messages and its position.
            tasks: its task is made in this group.
            spans: exports its traces.
        """
        policies = configured.policies
        matcher = Matcher(policies.topics)
        route = Route(
            configured.name, policies.topics, matcher, policies.start, drain=policies.drain, backlog_share=policies.backlog_share
        )
        shape = shape_of(configured)
        context = SinkContext(configured.name, self.config.host, spool.id, policies.timeout, shape=shape, loops=self._loops)
        reader = await spool.attach(route)
        secrets = partial(resolve, configured, self.config.secret_stores, self._last_known)
        steps, taps = self._steps.chain(configured, context), self.taps.sink(configured.name)
        runner = Runner(configured, reader, context, secrets, steps, spans=spans, taps=taps)
        self.steering.started_sink(configured.name, runner)
        name = f"sink {configured.name}"
        task = tasks.create_task(leaving_behind(runner.run(), name), name=name)
        self.sinks[configured.name] = RunningSink(configured, runner, matcher, task)

    def start_source(self, configured: ConfiguredSource, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        """Start a source, whose messages go into the spool."""
        settings = self.config.spool
        steps = Chain(configured.steps, StepNames(configured.name, self.config.host)) if configured.steps else None
        intake = Intake(
            configured.name,
            spool,
            lambda: self._routing,
            settings.commit_interval,
            self.settled,
            steps=steps,
            silence=self._silence(configured),
            tap=self.taps.intake,
        )
        context = SourceContext(
            name=configured.name,
            host=self.config.host,
            spool=spool.id,
            flush_now=intake.flush_now,
            dropped=spool.count_dropped,
            connected=intake.connected,
            unacknowledged=spool.unacknowledged(configured.name),
            state=settings.path / "sources" / configured.name if settings.type != "memory" else None,
            identity=session_identity(settings, self.config.host, spool.id),
        )

        @asynccontextmanager
        async def open_source() -> AsyncIterator[Source[Any]]:
            config = await resolve(configured, self.config.secret_stores, self._last_known)
            async with configured.plugin.open(config, context) as source:
                yield source

        self.steering.started_source(configured.name, intake)
        name = f"source {configured.name}"
        task = tasks.create_task(leaving_behind(intake.run(open_source), name), name=name)
        self.sources[configured.name] = RunningSource(configured, intake, task)

    def _silence(self, configured: ConfiguredSource) -> Silence | None:
        """Return the watch over the topics that a source should bring."""
        if not configured.expect:
            return None
        spool = self.config.spool
        state = StepState() if spool.type == "memory" else FileState(spool.path / "sources" / configured.name / "expected")
        return Silence(configured.name, configured.expect, state, events=self._events)

    async def stop_sources(self, names: Iterable[str]) -> None:
        """Stop sources, and forget them."""
        stopping = [self.sources.pop(name) for name in names]
        for source in stopping:
            source.intake.stop()
        await ended([source.task for source in stopping], timeout=CLOSING_SECONDS)

    async def stop_sinks(self, names: Iterable[str]) -> None:
        """Stop sinks; their numbers stay until they are removed."""
        tasks = [self.sinks[name].task for name in names]
        for task in tasks:
            task.cancel()
        await ended(tasks, timeout=CLOSING_SECONDS)

    def route(self) -> None:
        """Send messages that come in from now on to the sinks that run."""
        self._loops.subscribed(subscriptions(self.config.sources))
        self._routing = Routing({name: sink.matcher for name, sink in self.sinks.items()})


Running = Mapping[str, RunningSink] | Mapping[str, RunningSource]


async def changed(running: Running, configured: Iterable[ConfiguredSink | ConfiguredSource]) -> list[str]:
    """Return the names of what runs and is configured otherwise now, or not any more."""
    before = {name: each.configured.digest for name, each in running.items()}
    now = {each.name: each.digest for each in configured}
    # each digest takes ten milliseconds
    return await asyncio.to_thread(lambda: [name for name, digest in before.items() if now.get(name) != digest])
