"""Looks at the servers and at what is there of a spool, for the start and for `check --connect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgerouter.errors import SpoolUnusable
from edgerouter_nats.connection import Connector
from edgerouter_nats.spool.api import Api, ApiError
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.proof import prove
from edgerouter_nats.spool.state import State
from edgerouter_nats.spool.stream import ID, STATE_BYTES, deleted, look_at, refuse_foreign, stream_config

SHARDS: Final = "shards"
"""Key of the division into shards."""
_OLDEST: Final = (2, 11)
"""First version of nats-server that reads many messages by one direct get (docs.nats.io, ADR-31)."""


async def check_server(connector: Connector, config: JetStreamSpoolConfig) -> None:
    """Refuse a server that cannot carry the spool.

    Raises:
        SpoolUnusable: its version is too old, or it stands alone and is to hold replicas.
        Unavailable: no server answers.
    """
    connection = await connector.connection()
    info = connection.client.info
    version = str(info.get("version", ""))
    if version_of(version) < _OLDEST:
        raise SpoolUnusable(f"spool.servers: {connection.server} is nats-server {version[:20]}, and the spool needs 2.11 or newer")
    if config.replicas > 1 and not info.get("cluster"):
        raise SpoolUnusable(
            f"spool.replicas: {connection.server} stands alone, and {config.replicas} copies need a cluster of as many servers: "
            "set `replicas: 1`, or name the servers of a cluster"
        )


def version_of(text: str) -> tuple[int, int]:
    """Return the first two numbers of a version; an unreadable one counts as new."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else _OLDEST


def shards_of(config: JetStreamSpoolConfig) -> str:
    """Return the division into shards, as the routers agree on it."""
    return f"{config.shards} by {config.shard_by}"


def check_shards(found: bytes, config: JetStreamSpoolConfig) -> None:
    """Refuse a division into shards that differs from that of the routers before.

    Raises:
        SpoolUnusable: it differs.
    """
    before, mine = found[:200].decode(errors="replace"), shards_of(config)
    if before != mine:
        raise SpoolUnusable(
            f"spool.shards: the stream {config.stream} is divided into {before}, and here into {mine}: "
            "write the same `shards` and `shard_by` as the other routers, or name another stream"
        )


async def examine(api: Api, connector: Connector, config: JetStreamSpoolConfig) -> str:
    """Return what is there of the spool, and change nothing.

    Raises:
        SpoolUnusable: a router could not start with it.
        Unavailable: no answer.
    """
    await check_server(connector, config)
    names = Names(config.stream)
    try:
        found = {name: info for name in (names.stream, names.state, names.dead_letters) if (info := await look_at(api, name))}
        if names.state in found and names.stream not in found:
            raise SpoolUnusable(f"spool.stream: {deleted(names)}, or name another stream")
        if names.stream in found:
            there = found[names.stream]["config"]
            refuse_foreign(there, stream_config(names, config, str(there.get("metadata", {}).get(ID, ""))))
        if names.state in found and (shards := await State(api, names).read(SHARDS)) is not None:
            check_shards(shards[0], config)
        await prove(api, connector, config, list(found))
        if names.stream not in found:
            _check_room(await api.request("INFO", None), config)
    except ApiError as error:
        raise SpoolUnusable(f"spool: {error}") from None
    safe = "writes to its disk before it acknowledges" if config.durability == "synced" else f"is held by {config.replicas} servers"
    payload = _size(api.link.max_payload)
    return f"{_shown(found.get(names.stream), config)}; {safe}; a message may have {payload} compressed (max_payload)"


def _check_room(account: Mapping[str, Any], config: JetStreamSpoolConfig) -> None:
    """Refuse bounds that JetStream would not grant to a new stream."""
    tier = account.get("tiers", {}).get(f"R{config.replicas}", account)
    most, used = tier.get("limits", {}).get("max_storage", -1), tier.get("storage", 0)
    need = config.max_bytes + config.dead_letter_bytes + STATE_BYTES
    if 0 < most < used + need:
        raise SpoolUnusable(
            f"spool.max_bytes: with `dead_letter_bytes` and positions the spool may take {_size(need)}, and the account has "
            f"{_size(most - used)} left: lower it, or raise the limit of the account (max_file)"
        )


def _shown(info: Mapping[str, Any] | None, config: JetStreamSpoolConfig) -> str:
    if info is None:
        return f"the stream {config.stream} is made at the first start"
    there, state = info["config"], info["state"]
    text = f"the stream {config.stream} holds {_size(state['bytes'])} of {_size(there['max_bytes'])}"
    if there["max_bytes"] != config.max_bytes or there["num_replicas"] != config.replicas:
        text += f", and the start sets max_bytes {_size(config.max_bytes)} and replicas {config.replicas}"
    return text


def _size(size: int) -> str:
    """Return a size in MiB, or in bytes where it is small."""
    return f"{size / 1024**2:.0f} MiB" if size >= 10 * 1024**2 else f"{size} bytes"
