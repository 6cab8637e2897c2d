"""The stream and the bucket: created, or checked that they can serve as a spool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

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
_IN_USE: Final = 10058
_BUSY: Final = frozenset((10008, 10009, 10004))
"""Temporarily unavailable; no response from peers; cluster not available (nats-server, server/errors.json)."""
_NO_PEERS: Final = 10005
"""No suitable peers for placement: one of them is offline, which passes, or there are too few for ever."""
_MAX_DELAY: Final = 5.0

T = TypeVar("T")

log = structlog.get_logger("edgerouter.spool")


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


async def prepare(api: Api, names: Names, settings: Settings) -> str:
    """Create the stream and the bucket, or check those that are there; return the id of the spool.

    Raises:
        SpoolUnusable: they cannot serve as a spool.
        Unavailable: JetStream does not answer.
    """
    found = await create(api, stream_config(names, settings, new_id()))
    spool = str(found.get("metadata", {}).get(ID, ""))
    refuse_foreign(found, stream_config(names, settings, spool))
    if found["max_bytes"] != settings.max_bytes or found["num_replicas"] != settings.replicas:
        log.info("stream changed", stream=names.stream, max_bytes=settings.max_bytes, replicas=settings.replicas)
        await api.request(
            f"STREAM.UPDATE.{names.stream}", found | {"max_bytes": settings.max_bytes, "num_replicas": settings.replicas}
        )
    bucket = await create(api, bucket_config(names, settings, spool))
    if bucket.get("metadata", {}).get(ID) != spool:
        raise SpoolUnusable(
            f"spool.stream: the positions in the bucket {names.bucket} belong to another stream of the name {names.stream}, "
            f"which was deleted: delete the bucket too, with `nats kv del {names.bucket}`, or name another stream"
        )
    return spool


async def create(api: Api, config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a stream, which is made with this one if it is missing.

    Raises:
        ApiError: JetStream refuses it.
        Unavailable: it does not answer.
    """
    name = config["name"]
    while True:
        try:
            found: dict[str, Any] = (await api.request(f"STREAM.INFO.{name}", None))["config"]
        except ApiError as error:
            if error.code != STREAM_MISSING:
                raise
        else:
            return found
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
    for field in ("subjects", "storage", "retention", "discard", "allow_direct"):
        if found.get(field) != wanted[field]:
            raise SpoolUnusable(
                f"spool.stream: the stream {name} has {field}: {found.get(field)}, and a spool needs {wanted[field]}: "
                "change it with `nats stream edit`, or name another stream"
            )
