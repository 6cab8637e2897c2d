"""Proof at the start that the servers write to their disks before they acknowledge.

JetStream acknowledges before that by default: `sync_interval` is two minutes. A client cannot ask for it; the server's monitoring
says it, over HTTP, or on a subject that the system account may export to the router's account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from nats.errors import ConnectionClosedError

from edgerouter import Unavailable
from edgerouter.errors import SpoolUnusable
from edgerouter.http_client import bounded
from edgerouter_nats.connection import Connector
from edgerouter_nats.parser import Arrived, Skipped
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.config import JetStreamSpoolConfig

_SUBJECT: Final = "$SYS.REQ.SERVER.PING.VARZ"
_SECONDS: Final = 5.0
_MOST_BYTES: Final = 4 * 1024**2
_CURE: Final = "set `sync_interval: always` in its block `jetstream`, or take `replicas: 3` with `durability: replicated`"

log = structlog.get_logger("edgerouter.spool")


async def prove(api: Api, connector: Connector, config: JetStreamSpoolConfig, streams: Sequence[str]) -> None:
    """Return once it is proven for every server that holds one of the streams, or where the user takes replicas for it.

    Args:
        api: of JetStream.
        connector: to its servers.
        config: of the spool.
        streams: names of the streams; without any, every server that is shown counts.

    Raises:
        SpoolUnusable: a server does not, or none shows it. One that is away acknowledges nothing, and is left out.
        Unavailable: JetStream does not answer, or a server goes away just now.
    """
    if config.durability == "replicated":
        log.info("messages are safe in the memory of several servers, as configured", replicas=config.replicas)
        return
    holders = {name: found for stream in streams for name, found in (await _holders(api, stream)).items()}
    if config.monitor:
        shown, silent = await _by_http(config.monitor)
    else:
        shown = await _by_subject(connector, [name for name, found in holders.items() if found != "away"])
        silent = bool(shown)
    # before there is a stream, every server that shows itself may hold it
    for server in sorted(holders or shown or {(await connector.connection()).server}):
        if server not in shown:
            _not_shown(server, holders.get(server, ""), silent=silent, monitored=bool(config.monitor))
        elif not shown[server]:
            raise SpoolUnusable(
                f"spool.durability: the server {server} acknowledges messages before they are on its disk (sync_interval): {_CURE}"
            )


def _not_shown(server: str, holder: str, *, silent: bool, monitored: bool) -> None:
    """Decide about a server that nothing is known of: one that is away acknowledges nothing, and keeps no router from starting.

    Args:
        server: its name.
        holder: see `_holders`; empty where there is no stream yet.
        silent: something that was asked did not answer, which may have been this server.
        monitored: servers were asked at their addresses.

    Raises:
        SpoolUnusable: it is there, and was not asked.
        Unavailable: it may just have gone away, which its leader notices within some 10 s.
    """
    if holder == "away":
        log.warning("a server is away: that it syncs is proven at the next start", server=server)
        return
    if holder == "follower" and silent:
        raise Unavailable(f"nothing proves that the server {server} writes to its disk before it acknowledges: it does not answer")
    where = "`monitor` names none that is it" if monitored else "its monitoring is not asked"
    raise SpoolUnusable(
        f"spool.monitor: nothing proves that the server {server} writes to its disk before it acknowledges, since {where}: "
        "name the monitoring address of each server, such as http://host:8222, "
        f"or let the system account export {_SUBJECT}, or take `replicas: 3` with `durability: replicated`"
    )


async def _holders(api: Api, stream: str) -> dict[str, str]:
    """Return the servers that hold a stream by name: the `leader`, a `follower`, or one that is `away` or does not keep up."""
    cluster = (await api.request(f"STREAM.INFO.{stream}", None)).get("cluster") or {}
    leader = cluster.get("leader")
    if not leader:
        raise Unavailable(f"the stream {stream} has no leader")
    holders = {leader: "leader"}
    for replica in cluster.get("replicas") or ():
        holders[replica["name"]] = "follower" if replica.get("current") and not replica.get("offline") else "away"
    return holders


async def _by_http(addresses: Sequence[str]) -> tuple[dict[str, bool], bool]:
    """Return whether each server syncs, by its name, from its monitoring address; and True if one of them did not answer."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(connector=bounded(aiohttp.TCPConnector()), timeout=timeout) as session:
        answers = await asyncio.gather(*(_varz(session, address) for address in addresses))
    return dict(filter(None, map(_syncs, answers))), not all(answers)


async def _varz(session: aiohttp.ClientSession, address: str) -> Mapping[str, Any]:
    try:
        async with session.get(f"{address.rstrip('/')}/varz", allow_redirects=False) as response:
            reason = f"it answers {response.status}"
            if response.status == 200:
                return _decoded(await response.content.read(_MOST_BYTES))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or type(error).__name__
    log.warning("a monitoring address does not answer", address=address, reason=reason)
    return {}


class _Answers:
    """Gathers what the servers say, until all that matter have answered.

    Args:
        wanted: names of the servers; empty: all that answer in time.
    """

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self.found: dict[str, bool] = {}
        self.complete = asyncio.Event()

    def arrived(self, messages: list[Arrived]) -> None:
        for message in messages:
            data = _decoded(message.payload).get("data")
            found = _syncs(data) if isinstance(data, Mapping) else None
            if message.headers.startswith(b"NATS/1.0 503"):
                self.complete.set()
            elif found is not None and (not self._wanted or found[0] in self._wanted):
                self.found[found[0]] = found[1]
        if self._wanted and self.found.keys() >= set(self._wanted):
            self.complete.set()

    def skipped(self, message: Skipped) -> None:
        """Miss it."""


async def _by_subject(connector: Connector, wanted: Collection[str]) -> dict[str, bool]:
    """Return whether each server syncs, by its name, where the account may ask on the subject."""
    connection = await connector.connection()
    answers = _Answers(wanted)
    inbox = connector.inbox()
    end = connection.client.listen(answers, inbox)
    try:
        connection.client.post(f"PUB {_SUBJECT} {inbox} 0\r\n\r\n".encode())
        async with asyncio.timeout(_SECONDS):
            await answers.complete.wait()
    except (TimeoutError, ConnectionClosedError):
        pass
    finally:
        end()
    return answers.found


def _syncs(varz: Mapping[str, Any]) -> tuple[str, bool] | None:
    name, jetstream = varz.get("server_name"), varz.get("jetstream")
    if not isinstance(name, str) or not isinstance(jetstream, Mapping):
        return None
    config = jetstream.get("config")
    return name, isinstance(config, Mapping) and config.get("sync_always") is True


def _decoded(payload: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
