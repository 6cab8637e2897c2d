"""The MQTT source: one session at a broker, for ever, acknowledged once the messages are safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import ClassVar, Final, Self

import structlog

from edgerouter.errors import Unavailable
from edgerouter.mqtt.client import LOST
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.source import Delivery, Source, SourceContext
from edgerouter.sources.mqtt.broker import SilenceWatch
from edgerouter.sources.mqtt.calls import ConnectFailed
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.connection import TAKEN_OVER, Connection
from edgerouter.sources.mqtt.duplicates import DuplicateFilter, RetainedPolicy
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.inflow import OVERRUN
from edgerouter.sources.mqtt.probe import configure_probe
from edgerouter.sources.mqtt.protocol import ProtocolChoice
from edgerouter.sources.mqtt.read_ahead import Allowance
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.sources.mqtt.state import SessionState, read_retained, read_session, write_retained, write_session

log = structlog.get_logger("edgerouter.mqtt")

_STEADY: Final = 10.0
"""Seconds after which a connection counts as good, and the next back-off starts small again."""
_SHORT_LIVES: Final = 3
"""Connections that end that soon, one after another, after which another client with our id is suspected."""
_AHEAD: Final = 2
"""Bytes that are read ahead of what is taken in: so many times the bound of bytes that are not acknowledged."""
_SAVE_RETAINED: Final = 30.0
"""Least seconds between two writes of the retained messages' digests."""


class MqttSource(Source[MqttSourceConfig]):
    """Messages of an MQTT broker.

    A task keeps the session alive and receives messages; `deliveries` hands them on. So the connection is served also while the
    router does not ask for messages.
    """

    Config: ClassVar[type[MqttSourceConfig]] = MqttSourceConfig

    def __init__(
        self, config: MqttSourceConfig, context: SourceContext, limits: PacketLimits, state: SessionState, digests: dict[str, str]
    ) -> None:
        self._config = config
        self._limits = limits
        self._context = context
        self._state = state
        self._log = log.bind(source=context.name, broker=str(config.address))
        self._stopping = asyncio.Event()
        self._state_changed = False
        self._saving = asyncio.Lock()
        self._protocol = ProtocolChoice(config.protocol, state.protocol, patient=not context.probe)
        self._silence = SilenceWatch(active=False)
        self._allowance = Allowance(_AHEAD * config.max_unacknowledged_bytes)
        self._refused: str | None = None
        self._refused_filters: dict[str, str] = {}
        self._introduced = False
        self._in_flight = InFlight(
            max_messages=config.max_unacknowledged,
            max_bytes=config.max_unacknowledged_bytes,
            max_qos0_bytes=config.max_pending_bytes,
            max_unconfirmed=None if config.clean_session else config.max_unconfirmed,
            dropped=context.dropped,
            source=context.name,
        )
        self._redelivery = Redelivery(state, self._in_flight, context.unacknowledged, self._keep_state)
        self._retained = RetainedPolicy(config.retained, digests)
        self._duplicates = DuplicateFilter(self._in_flight, self._redelivery, self._retained)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MqttSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to connect; leaving disconnects, and the broker keeps the session."""
        client_id = config.client_id or f"edgerouter-{(context.identity or context.spool)[:12]}-{context.name}"
        if context.probe:
            # a look must not leave a session behind, nor take over that of a running router
            client_id += "-check"
            config = configure_probe(config)
        config.warn_of_weak_points(log.bind(source=context.name), f"source {context.name}")
        broker = str(config.address)
        known = await asyncio.to_thread(read_session, context.state)
        if known is not None and (known.broker, known.client_id) != (broker, client_id):
            log.warning(
                "the broker or the client id changed; the former session stays at the former broker until it expires",
                source=context.name, former_broker=known.broker, former_client_id=known.client_id,
            )  # fmt: skip
            known = None
        digests = await asyncio.to_thread(read_retained, context.state) if config.retained == "once" else {}
        limits = await asyncio.to_thread(lambda: config.limits)
        source = cls(config, context, limits, known or SessionState(broker, client_id), digests)
        task = asyncio.create_task(source._serve(), name=f"mqtt source {context.name}")
        task.add_done_callback(lambda _: source._in_flight.arrived.set())
        source._task = task
        try:
            yield source
        finally:
            source.stop()
            source._stopping.set()
            await _finish(task)
            await source._save()

    _task: asyncio.Task[None]

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Everything that came in since the last delivery, as one, as often as there is something.

        Raises:
            Unavailable: a probe was refused; or the task that serves the connection ended, which is a bug.
        """
        in_flight = self._in_flight
        while True:
            while (delivery := in_flight.take(self._duplicates)) is not None:
                self._silence.heard()
                yield delivery
            if in_flight.stopped:
                return
            if self._refused is not None:
                raise Unavailable(self._refused)
            if self._task.done():
                error = None if self._task.cancelled() else self._task.exception()
                raise Unavailable(f"the MQTT connection's task ended: {type(error).__name__}") from error
            await in_flight.arrived.wait()

    def stop(self) -> None:
        """Take in nothing more; the connection stays for the acknowledgements, and the broker keeps the rest."""
        self._in_flight.stop()

    async def _serve(self) -> None:
        """Connect, serve the connection until it is lost, and so on."""
        failures = 0
        short_lives = 0
        reason = ""
        was_away = False
        while not self._stopping.is_set() and not self._in_flight.stopped:
            began = time.monotonic()
            patience = 0.0
            goes_on = reason == OVERRUN
            try:
                reason, code = await self._serve_one_connection(goes_on=goes_on)
            except ConnectFailed as error:
                reason, code = str(error), None
                was_away = True
            else:
                # a broker that was away and came back is a good one, however soon it went again: it may be restarted often
                good = was_away or time.monotonic() - began > _STEADY
                was_away = False
                short_lives = 0 if good else short_lives + 1
                failures = 0 if good else failures
            if self._stopping.is_set():
                break
            if reason == OVERRUN:
                # such a connection has brought as many messages as it may, and the next one is meant to bring more
                failures = short_lives = 0
                if not self._refused_filters:
                    self._context.connected(True, "")
                if not goes_on:
                    self._log.warning(f"{reason}; connecting again for each `max_unconfirmed` messages while it does so")
                continue
            if code == TAKEN_OVER:
                patience = self._config.reconnect.max_delay
                reason += f": another client uses the client id {self._state.client_id!r}; give each its own"
            elif short_lives >= _SHORT_LIVES and reason == LOST:
                reason += (
                    f", as soon as it was made, {short_lives} times: does another client use the id {self._state.client_id!r}?"
                )
            delay = max(self._delay(failures), patience * random.uniform(0.5, 1))  # noqa: S311  (jitter is no secret)
            failures += 1
            self._context.connected(False, reason)
            if self._context.probe:
                self._refused = reason
                return
            self._log.warning("not connected, will try again", reason=reason, seconds=round(delay, 2))
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _serve_one_connection(self, *, goes_on: bool) -> tuple[str, int | None]:
        connection = Connection(
            self._config, self._state.client_id, self._protocol.version,
            in_flight=self._in_flight, redelivery=self._redelivery, duplicates=self._duplicates, limits=self._limits,
            allowance=self._allowance,
            hurry=self._context.hurry, probe=self._context.probe,
        )  # fmt: skip
        expects_session = bool(self._state.subscriptions) and not self._config.clean_session
        try:
            await connection.connect()
        except ConnectFailed as error:
            at_once = self._protocol.failed(error)
            self._note_protocol()
            if at_once and not self._stopping.is_set():
                return await self._serve_one_connection(goes_on=goes_on)
            raise
        if expects_session and not connection.session_present:
            self._log.warning(
                "the broker no longer has our session: what it kept for us meanwhile is gone. Does it keep sessions over a restart,"
                " as mosquitto does with `persistence true`?"
            )
        self._protocol.connected()
        self._note_protocol()
        try:
            return await self._use(connection, goes_on=goes_on and connection.session_present)
        except ConnectFailed:
            if not connection.lost.done():
                raise
            return connection.lost.result()
        finally:
            await connection.close()

    async def _use(self, connection: Connection, *, goes_on: bool) -> tuple[str, int | None]:
        """Serve a connection to its end; `goes_on` if it is the former one in all but name, with all it subscribed to.

        Of the former one, the answers to subscribing may have been among what was not read.
        """
        self._introduced = self._introduced and goes_on
        if not goes_on:
            await self._introduce(connection)
        now = time.monotonic()
        retry_at = now + self._config.reconnect.max_delay
        steady_at = now + _STEADY
        save_at = now + _SAVE_RETAINED
        self._silence = SilenceWatch(active=self._config.shares and not connection.version5)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                await asyncio.wait(
                    (connection.lost, stopping), timeout=min(1.0, max(1, connection.keepalive) / 8), return_when="FIRST_COMPLETED"
                )
                if connection.lost.done():
                    return connection.lost.result()
                if stopping.done():
                    return "stopped", None
                connection.tick()
                self._in_flight.drops.report()
                self._in_flight.drops.log(self._log)
                now = time.monotonic()
                if now >= steady_at:
                    self._allowance.overrun = False
                    if not self._introduced:
                        await self._introduce(connection)
                if self._state_changed or (self._retained.changed and now >= save_at):
                    save_at = now + _SAVE_RETAINED
                    await self._save()
                if self._silence.is_suspicious():
                    self._log.warning(
                        "no message on a shared subscription for a long time: does the broker have such? (3.1.1 cannot say no)"
                    )
                if self._refused_filters and now >= retry_at:
                    retry_at = now + self._config.reconnect.max_delay
                    again = {each: self._config.subscriptions[each] for each in self._refused_filters}
                    self._refused_filters = await connection.calls.subscribe(again)
                    self._report(connection)
        finally:
            stopping.cancel()

    async def _introduce(self, connection: Connection) -> None:
        for remark in connection.abilities.remarks(self._config, self._state.client_id):
            self._log.warning(remark)
        self._refused_filters = await self._subscribe(connection, self._config.subscriptions)
        if self._context.probe:
            await connection.calls.unsubscribe(self._config.subscriptions)
        await connection.publish_status("online")
        self._introduced = True
        self._report(connection)

    async def _subscribe(self, connection: Connection, wanted: dict[str, int]) -> dict[str, str]:
        """Make the session's subscriptions those of the configuration."""
        former = [each for each in self._state.subscriptions if each not in wanted]
        known = [*wanted, *former]
        # before the broker knows: a filter that is subscribed and forgotten would send for ever
        if self._state.subscriptions != known or self._state_changed:
            self._state.subscriptions = known
            self._keep_state()
            await self._save()
        refused = await connection.calls.subscribe(wanted)
        if former:
            await connection.calls.unsubscribe(former)
            self._log.info("unsubscribed what the configuration no longer holds", topics=former)
            self._state.subscriptions = list(wanted)
            self._keep_state()
        return refused

    def _report(self, connection: Connection) -> None:
        if refused := self._refused_filters:
            reason = "; ".join(f"the broker refuses the subscription {each!r}: {why}" for each, why in refused.items())
            self._context.connected(False, reason)
            if self._context.probe:
                self._refused = reason
                self._in_flight.arrived.set()
                return
            self._log.error("subscription refused, will try again", topics=refused)
        else:
            self._context.connected(True, "")
            version = "5" if connection.version5 else "3.1.1"
            self._log.info("connected", protocol=version, session_present=connection.session_present)

    def _note_protocol(self) -> None:
        if self._state.protocol != self._protocol.known:
            self._state.protocol = self._protocol.known
            self._keep_state()

    def _delay(self, failures: int) -> float:
        reconnect = self._config.reconnect
        upper: float = min(reconnect.max_delay, reconnect.first_delay * 2.0 ** min(failures, 32))
        return upper * random.uniform(0.5, 1)  # noqa: S311  (jitter is no secret)

    def _keep_state(self) -> None:
        self._state_changed = True

    async def _save(self) -> None:
        async with self._saving:
            if self._state_changed:
                self._state_changed = False
                await asyncio.to_thread(write_session, self._context.state, self._state)
            if self._retained.changed:
                self._retained.changed = False
                await asyncio.to_thread(write_retained, self._context.state, dict(self._retained.digests))


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for the task, which ends by itself: a connect that is cancelled goes on in its thread."""
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the task that serves a connection failed", exc_info=error)
