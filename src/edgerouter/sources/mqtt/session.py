"""One session at a broker over many connections: connects, serves each connection to its end, and reconnects."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.connection import Credentials
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.reasons import LOST, TAKEN_OVER
from edgerouter.mqtt.version import VersionChoice
from edgerouter.source import SourceContext
from edgerouter.sources.mqtt.broker import SilenceWatch, remarks
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.connection import Connection
from edgerouter.sources.mqtt.duplicates import DuplicateFilter
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.inflow import OVERRUN
from edgerouter.sources.mqtt.kept import Kept
from edgerouter.sources.mqtt.read_ahead import Allowance
from edgerouter.sources.mqtt.redelivery import Redelivery
from edgerouter.tasks.backoff import full_jitter
from edgerouter.tasks.beat import until_beat
from edgerouter.tasks.outage import longest_delay

_STEADY: Final = 10.0
"""Seconds after which a connection counts as good, and the back-off restarts."""
_SHORT_LIVES: Final = 3
"""Consecutive connections that end that soon, after which another client with the same id is suspected."""
_AHEAD: Final = 2
"""Bytes read ahead of accepted messages, as a multiple of the bound of unacknowledged bytes."""
_HINTS: Final = {
    154: "; remove `status_topic`, or `retain` from `last_will`",
    155: "; set a lower `qos` for `last_will`, and no `status_topic`",
}
"""Advice for a broker that refuses the last will: retained, or with this QoS."""


class Session:
    """Keeps a session alive, and puts its messages in flight.

    Args:
        config: the source's configuration.
        context: context of the source.
        limits: bounds of a publish.
        kept: state that survives restarts.
        in_flight: destination of messages.
        log: logger bound to the source.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        context: SourceContext,
        *,
        limits: PacketLimits,
        kept: Kept,
        in_flight: InFlight,
        log: Any,
    ) -> None:
        self.silence = SilenceWatch(active=False)
        self.refused: str | None = None
        """Reason why a probe was refused."""
        self._config = config
        self._context = context
        self._limits = limits
        self._kept = kept
        self._state = kept.session
        self._in_flight = in_flight
        self._log = log
        self._stopping = asyncio.Event()
        self._version = VersionChoice(config.protocol, kept.session.protocol, patient=not context.probe)
        self._allowance = Allowance(_AHEAD * config.max_unacknowledged_bytes)
        self.redelivery = Redelivery(kept.session, in_flight, context.unacknowledged, kept.change_session)
        self.duplicates = DuplicateFilter(in_flight, self.redelivery, kept.retained)
        self._refused_filters: dict[str, str] = {}
        self._introduced = False

    def stop(self) -> None:
        """End the connection gracefully, and open no other."""
        self._stopping.set()

    async def serve(self) -> None:
        """Connect and serve the connection until it is lost, repeatedly."""
        failures = 0
        short_lives = 0
        reason = ""
        was_away, away_since = False, 0.0
        while not self._stopping.is_set() and not self._in_flight.stopped:
            began, max_delay = time.monotonic(), self._config.reconnect.max_delay
            goes_on = reason == OVERRUN
            try:
                reason, code = await self._serve_one_connection(goes_on=goes_on)
            except ConnectFailed as error:
                reason, code = str(error) + _HINTS.get(error.code or 0, ""), None
                away_since = away_since if was_away else began
                max_delay = longest_delay(error, time.monotonic() - away_since, max_delay)
                was_away = True
            else:
                # a broker that was unreachable and returned is a good one, however soon it disconnected: it may be restarted often
                good = was_away or time.monotonic() - began > _STEADY
                was_away = False
                short_lives = 0 if good else short_lives + 1
                failures = 0 if good else failures
            if self._stopping.is_set():
                break
            if reason == OVERRUN:
                # such a connection has brought as many messages as it may, and the next one is expected to bring more
                failures = short_lives = 0
                if not self._refused_filters:
                    self._context.connected(True, "")
                if not goes_on:
                    self._log.warning(f"{reason}; connecting again for each `max_unconfirmed` messages while it does so")
                continue
            first_delay = self._config.reconnect.first_delay
            if code == TAKEN_OVER:
                first_delay = self._config.reconnect.max_delay
                reason += f": another client uses the client id {self._state.client_id!r}; give each its own"
            elif short_lives >= _SHORT_LIVES and reason == LOST:
                reason += (
                    f", as soon as it was made, {short_lives} times: does another client use the id {self._state.client_id!r}?"
                )
            failures += 1
            delay = full_jitter(failures, first_delay, max_delay, floor=0.5)
            self._context.connected(False, reason)
            if self._context.probe:
                self.refused = reason
                return
            self._log.warning("not connected, will try again", reason=reason, seconds=round(delay, 2))
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _serve_one_connection(self, *, goes_on: bool) -> tuple[str, int | None]:
        expects_session = bool(self._state.subscriptions) and not self._config.clean_session
        try:
            connection = Connection(
                self._config, self._state.client_id, self._version.version, await Credentials.read(self._config),
                in_flight=self._in_flight, redelivery=self.redelivery, duplicates=self.duplicates, limits=self._limits,
                allowance=self._allowance, flush_now=self._context.flush_now, probe=self._context.probe,
            )  # fmt: skip
            await connection.connect()
        except ConnectFailed as error:
            at_once = self._version.failed(error)
            self._note_protocol()
            if at_once and not self._stopping.is_set():
                return await self._serve_one_connection(goes_on=goes_on)
            raise
        if expects_session and not connection.link.session_present:
            self._log.warning(
                "the broker no longer has our session: what it kept for us meanwhile is gone. Does it keep sessions over a restart,"
                " as mosquitto does with `persistence true`?"
            )
        self._version.connected()
        self._note_protocol()
        try:
            return await self._use(connection, goes_on=goes_on and connection.link.session_present)
        except ConnectFailed:
            if not connection.link.lost.done():
                raise
            return connection.link.lost.result()
        finally:
            await connection.close()

    async def _use(self, connection: Connection, *, goes_on: bool) -> tuple[str, int | None]:
        """Serve a connection to its end; `goes_on` if it continues the former one, including all its subscriptions.

        The answers to the former one's SUBSCRIBE may have been among the unread data.
        """
        self._introduced = self._introduced and goes_on
        if not goes_on:
            await self._introduce(connection)
        now = time.monotonic()
        retry_at = now + self._config.reconnect.max_delay
        steady_at = now + _STEADY
        self.silence = SilenceWatch(active=self._config.shares and not connection.link.version5)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                every = min(1.0, max(1, connection.link.client.keepalive) / 8)
                await asyncio.wait((connection.link.lost, stopping), timeout=until_beat(every), return_when="FIRST_COMPLETED")
                if connection.link.lost.done():
                    return connection.link.lost.result()
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
                await self._kept.save_if_due()
                if self.silence.is_suspicious():
                    self._log.warning(
                        "no message on a shared subscription for a long time: does the broker have such? (3.1.1 cannot say no)"
                    )
                if self._refused_filters and now >= retry_at:
                    retry_at = now + self._config.reconnect.max_delay
                    again = {each: self._config.subscriptions[each] for each in self._refused_filters}
                    self._refused_filters = await connection.subscribe(again)
                    self._report(connection)
        finally:
            stopping.cancel()

    async def _introduce(self, connection: Connection) -> None:
        link = connection.link
        for remark in remarks(link.abilities, self._config, self._state.client_id, version5=link.version5):
            self._log.warning(remark)
        self._refused_filters = await self._subscribe(connection, self._config.subscriptions)
        if self._context.probe:
            await connection.link.calls.unsubscribe(self._config.subscriptions)
        await connection.publish_status("online")
        self._introduced = True
        self._report(connection)

    async def _subscribe(self, connection: Connection, wanted: dict[str, int]) -> dict[str, str]:
        """Bring the session's subscriptions in line with the configuration."""
        former = [each for each in self._state.subscriptions if each not in wanted]
        known = [*wanted, *former]
        # before the broker learns of it: a subscribed filter that is forgotten would send for ever
        if self._state.subscriptions != known or self._kept.session_changed:
            self._state.subscriptions = known
            self._kept.change_session()
            await self._kept.save()
        refused = await connection.subscribe(wanted)
        if former:
            await connection.link.calls.unsubscribe(former)
            self._log.info("unsubscribed what the configuration no longer holds", topics=former)
            self._state.subscriptions = list(wanted)
            self._kept.change_session()
        return refused

    def _report(self, connection: Connection) -> None:
        if refused := self._refused_filters:
            reason = "; ".join(f"the broker refuses the subscription {each!r}: {why}" for each, why in refused.items())
            self._context.connected(False, reason)
            if self._context.probe:
                self.refused = reason
                self._in_flight.arrived.set()
                return
            self._log.error("subscription refused, will try again", topics=refused)
        else:
            self._context.connected(True, "")
            link = connection.link
            self._log.info("connected", protocol="5" if link.version5 else "3.1.1", session_present=link.session_present)

    def _note_protocol(self) -> None:
        if self._state.protocol != self._version.known:
            self._state.protocol = self._version.known
            self._kept.change_session()
