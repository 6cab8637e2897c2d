"""A spool starts only where the servers sync before they acknowledge, or where replicas are taken for it by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from edgerouter.errors import SpoolUnusable
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from support.nats.cluster import NatsCluster, NatsServer

EXPORTED = [
    "accounts: {",
    '  SYS: { users: [{user: sys, password: sys}], exports: [{service: "$SYS.REQ.SERVER.PING.VARZ", response_type: stream}] }',
    "  APP: { jetstream: enabled, users: [{user: app, password: app}],",
    '         imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.VARZ"}}] }',
    "}",
    "system_account: SYS",
]


def config(folder: Path, *servers: NatsServer, **more: Any) -> JetStreamSpoolConfig:
    plain: Mapping[str, Any] = {"servers": [server.url for server in servers], "path": folder / "spool", "stream": "PROOF"}
    return JetStreamSpoolConfig.model_validate({**plain, **more})


async def opens(config: JetStreamSpoolConfig) -> str:
    """Open and close; return the type."""
    async with plugins.open_spool(config, "box") as spool:
        return spool.status.type


async def refused(config: JetStreamSpoolConfig) -> str:
    """Return why neither `check --connect` nor a router accepts it."""
    with pytest.raises(SpoolUnusable) as looked:
        await plugins.examine_spool(config, "box")
    with pytest.raises(SpoolUnusable) as caught:
        await opens(config)
    assert "\n" not in str(caught.value)
    assert str(looked.value) == str(caught.value)
    return str(caught.value)


def monitor(server: NatsServer) -> str:
    return f"http://127.0.0.1:{server.monitor_port}"


async def test_a_server_with_the_default_sync_interval_is_refused_with_what_to_set(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", jetstream=()) as server:
        text = await refused(config(tmp_path, server, monitor=[monitor(server)]))
    assert "spool.durability: the server alone acknowledges messages before they are on its disk" in text
    assert "set `sync_interval: always` in its block `jetstream`, or take `replicas: 3` with `durability: replicated`" in text


async def test_a_server_that_syncs_is_proven_by_its_monitoring(nats: NatsServer, tmp_path: Path) -> None:
    proven = config(tmp_path, nats, monitor=[monitor(nats)])
    assert await opens(proven) == "jetstream"
    found = await plugins.examine_spool(proven, "box")
    assert re.match(
        r"the stream PROOF holds \d+ bytes of 1024 MiB; writes to its disk before it acknowledges; a message may", found
    )


async def test_without_a_proof_the_line_says_how_to_give_one(nats: NatsServer, tmp_path: Path) -> None:
    text = await refused(config(tmp_path, nats))
    assert "spool.monitor: nothing proves that the server alone writes to its disk before it acknowledges" in text
    text = await refused(config(tmp_path, nats, monitor=["http://127.0.0.1:9"]))
    assert "`monitor` names none that is it" in text


async def test_the_system_account_may_export_the_proof(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", EXPORTED) as server:
        assert await opens(config(tmp_path, server, username="app", password="app")) == "jetstream"
    with NatsServer(tmp_path / "lazy", EXPORTED, jetstream=()) as server:
        assert "acknowledges messages before" in await refused(config(tmp_path, server, username="app", password="app"))


async def test_three_replicas_are_taken_for_it_only_by_name(tmp_path: Path, store: Path) -> None:
    with NatsCluster(store / "proven") as cluster:
        addresses = [monitor(node) for node in cluster.nodes]
        text = await refused(config(tmp_path, *cluster.nodes, replicas=3, monitor=addresses))
        assert "acknowledges messages before they are on its disk" in text
        assert await opens(config(tmp_path, *cluster.nodes, replicas=3, durability="replicated")) == "jetstream"


async def test_a_router_starts_while_a_server_of_the_cluster_is_down(tmp_path: Path, store: Path) -> None:
    """The server acknowledges nothing meanwhile; a start that is refused would need an operator while all data is there."""
    with NatsCluster(store / "down", jetstream=["sync_interval: always"]) as cluster:
        proven = config(tmp_path, *cluster.nodes, replicas=3, monitor=[monitor(node) for node in cluster.nodes])
        assert await opens(proven) == "jetstream"
        cluster.nodes[0].kill()
        assert await opens(proven) == "jetstream"
        assert "writes to its disk before it acknowledges" in await plugins.examine_spool(proven, "box")


def test_one_replica_is_not_replicated(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"`durability: replicated` needs `replicas: 3` or more"):
        JetStreamSpoolConfig.model_validate({"servers": ["nats://a"], "durability": "replicated"})


async def test_another_number_of_shards_than_that_of_the_stream_is_refused(nats: NatsServer, tmp_path: Path) -> None:
    common = {"monitor": [monitor(nats)], "stream": "SHARDED"}
    await opens(config(tmp_path, nats, **common, shards=4))
    assert "spool.shards: the stream SHARDED is divided into 4 by {topic}, and here into 8 by {topic}" in await refused(
        config(tmp_path, nats, **common, shards=8)
    )
