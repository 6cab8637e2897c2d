"""The stream and the bucket: created, or checked that they can serve as a spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolUnusable
from edgerouter.spool.log.chunk import new_id
from edgerouter.tasks.backoff import full_jitter
from edgerouter_nats.spool.api import STREAM_MISSING, Api, ApiError
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.settings import Settings

ID: Final = "edgerouter.spool"
"""Name of the spool's id among the metadata of its streams."""
DUPLICATE_WINDOW: Final = 120
"""Seconds in which the server recognises a repeated message by its id."""
STATE_BYTES: Final = 32 * 1024**2
"""Most bytes of positions, leases and routers."""
_IN_USE: Final = 10058
_BUSY: Final = frozenset((10008, 10009, 10004))
"""Temporarily unavailable; no response from peers; cluster not available (nats-server, server/errors.json)."""
_NO_PEERS: Final = 10005
"""No suitable peers for placement: one of them is offline, which passes, or there are too few for ever."""
_MAX_DELAY: Final = 5.0
_BATCHES: Final = 2
"""Level of JetStream's API that has batches, in which several messages are stored or none is: nats-server 2.12 and later."""

WITHOUT: Final = "edgerouter.without_positions"
"""Name of the last stream sequence whose positions are lost, and of the time in ns, among the metadata of a bucket made anew."""
_UNLIMITED: Final[Mapping[str, Any]] = {"max_age": 0, "max_msgs": -1}
"""Limits that would delete messages, or positions."""
_NEEDED: Final = (
    *("subjects", "storage", "retention", "discard", "allow_direct", "max_msgs_per_subject", "max_msg_size", *_UNLIMITED),
    # these are never wanted
    *("no_ack", "sealed", "deny_purge", "subject_transform"),
)
"""Fields of the stream that must be as wanted."""

T = TypeVar("T")

log = structlog.get_logger("edgerouter.spool")


class Prepared(NamedTuple):
    """The stream and its bucket, as they are there."""

    spool: str
    """Id of the spool."""
    without_positions: int
    """Last stream sequence that was stored before the bucket was made anew; 0 = it was not."""
    incarnations_from: int
    """Above the incarnations of all routers before that: the server still knows the ids of their chunks."""


def stream_config(names: Names, settings: Settings, spool: str) -> dict[str, Any]:
    """Return the configuration of the stream of chunks."""
    return {
        "name": names.stream,
        "description": "edgerouter: messages between sources and sinks",
        "subjects": [names.chunks],
        "storage": "file",
        "retention": "limits",
        # a full stream refuses; what `drop_oldest` gives up is deleted by a router, which can count it
        "discard": "new",
        "max_bytes": settings.max_bytes,
        **_UNLIMITED,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "duplicate_window": DUPLICATE_WINDOW * 10**9,
        "metadata": {ID: spool},
    }


def bucket_config(names: Names, settings: Settings, spool: str) -> dict[str, Any]:
    """Return the configuration of the stream behind the bucket."""
    return {
        "name": names.state,
        "description": "edgerouter: positions, leases and routers",
        "subjects": [names.key(">")],
        "storage": "file",
        "discard": "new",
        # reserved: what the spool stores itself must leave room for the positions by which it is trimmed
        "max_bytes": STATE_BYTES,
        **_UNLIMITED,
        "max_msgs_per_subject": 1,
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": 0,
        "metadata": {ID: spool},
    }


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Return what the call returns, once JetStream answers."""
    attempt = 0
    while True:
        try:
            return await call()
        except Unavailable as error:
            reason = str(error)
        except ApiError as error:
            if error.code not in _BUSY and not (error.code == _NO_PEERS and "offline" in str(error)):
                raise SpoolUnusable(f"spool: {error}") from None
            reason = str(error)
        attempt += 1
        if attempt == 1:
            log.warning("the spool waits for JetStream", reason=reason)
        await asyncio.sleep(full_jitter(attempt, 0.1, _MAX_DELAY, floor=0.5))


async def prepare(api: Api, names: Names, settings: Settings) -> Prepared:
    """Create the stream and the bucket, or check those that are there.

    Raises:
        SpoolUnusable: they cannot serve as a spool.
        Unavailable: JetStream does not answer.
    """
    # the bucket is made last, so one that is there has had its stream
    if await look_at(api, names.state) is not None and await look_at(api, names.stream) is None:
        raise SpoolUnusable(f"spool.stream: {deleted(names)}, or name another stream")
    changes: dict[str, Any] = {"max_bytes": settings.max_bytes, "num_replicas": settings.replicas}
    if api.link.api_level >= _BATCHES:
        changes["allow_atomic"] = True
    found = await create(api, stream_config(names, settings, new_id()) | changes)
    spool = str(found.get("metadata", {}).get(ID, ""))
    refuse_foreign(found, stream_config(names, settings, spool))
    if any(found.get(field) != value for field, value in changes.items()):
        log.info("stream changed", stream=names.stream, **changes)
        await api.request(f"STREAM.UPDATE.{names.stream}", found | changes)
    wanted = bucket_config(names, settings, spool)
    if await look_at(api, names.state) is None and (newest := (await api.state(names.stream)).last):
        log.warning("the bucket of positions is missing, and is made anew: what the stream holds is delivered again")
        wanted["metadata"][WITHOUT] = f"{newest} {time.time_ns()}"
    bucket = await create(api, wanted)
    metadata = bucket.get("metadata", {})
    if metadata.get(ID) != spool:
        raise SpoolUnusable(
            f"spool.stream: the positions in the bucket {names.bucket} belong to another stream of the name {names.stream}, "
            f"which was deleted: delete the bucket too, with `nats kv del {names.bucket}`, or name another stream"
        )
    field = next(differing(bucket, wanted, (*_UNLIMITED, "max_msgs_per_subject")), None)
    if field is not None:
        raise SpoolUnusable(f"spool.stream: {limited(bucket, field, wanted)}")
    last, _, since = metadata.get(WITHOUT, "0 0").partition(" ")
    return Prepared(spool, int(last), int(since)) if last.isdecimal() and since.isdecimal() else Prepared(spool, 0, 0)


async def look_at(api: Api, stream: str) -> dict[str, Any] | None:
    """Return what JetStream says about a stream; `None` where there is none.

    Raises:
        ApiError: JetStream refuses.
        Unavailable: it does not answer.
    """
    try:
        return await api.request(f"STREAM.INFO.{stream}", None)
    except ApiError as error:
        if error.code != STREAM_MISSING:
            raise
        return None


async def create(api: Api, config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a stream, which is made with this one if it is missing.

    Raises:
        ApiError: JetStream refuses it.
        Unavailable: it does not answer.
    """
    name = config["name"]
    while True:
        found = await look_at(api, name)
        if found is not None:
            there: dict[str, Any] = found["config"]
            return there
        try:
            created: dict[str, Any] = (await api.request(f"STREAM.CREATE.{name}", config))["config"]
        except ApiError as error:
            if error.code != _IN_USE:
                raise
        else:
            return created


def refuse_foreign(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a stream that cannot be the spool.

    Raises:
        SpoolUnusable: it is of another kind.
    """
    name = wanted["name"]
    if not wanted["metadata"][ID]:
        raise SpoolUnusable(f"spool.stream: the stream {name} exists and is not a spool of edgerouter: name another one")
    field = next(differing(found, wanted, _NEEDED), None)
    if field is not None:
        raise SpoolUnusable(f"spool.stream: {limited(found, field, wanted)}, or name another stream")


def unsafe(found: Mapping[str, Any], names: Names, settings: Settings, spool: str) -> str:
    """Return why a message that the stream acknowledges now could be lost; empty where it could not.

    Args:
        found: configuration of the stream, as it is now.
        names: of the stream.
        settings: of the spool.
        spool: its id.
    """
    if found.get("metadata", {}).get(ID) != spool:
        return f"the stream {names.stream} was made anew: stop all its routers, then {deleted(names)}"
    if found.get("num_replicas", 0) < settings.replicas:
        return limited(found, "num_replicas", {"num_replicas": settings.replicas})
    wanted = stream_config(names, settings, spool)
    field = next(differing(found, wanted, _NEEDED), None)
    return "" if field is None else limited(found, field, wanted)


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any], needed: Iterable[str]) -> Iterator[str]:
    """Yield the fields among those needed in which a stream is not as it is wanted; the server leaves out what is not set."""
    return (field for field in needed if (found.get(field) or None) != (wanted.get(field) or None))


def limited(found: Mapping[str, Any], field: str, wanted: Mapping[str, Any]) -> str:
    """Return what is wrong with a field of a stream, and the cure."""
    value = wanted.get(field, "none")
    return (
        f"the stream {found['name']} has {field}: {found.get(field)}, and a spool needs {value}: change it with `nats stream edit`"
    )


def deleted(names: Names) -> str:
    """Return what is wrong where a stream is gone, and the cure."""
    return (
        f"the stream {names.stream} was deleted, and its positions are still in the bucket {names.bucket}: "
        f"delete that too, with `nats kv del {names.bucket}`"
    )
