"""Entry point of `spool: {type: jetstream}`: connects, proves, opens, leases."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, ClassVar

from edgerouter import Unavailable
from edgerouter.config.model import SpoolSection
from edgerouter.errors import SpoolError
from edgerouter.spool.contract import Spool
from edgerouter.spool.folder import locked_folder
from edgerouter.spool.plugin import SpoolContext, SpoolPlugin
from edgerouter_nats.connection import Connector, connecting
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from edgerouter_nats.spool.engine import Engine, running
from edgerouter_nats.spool.examination import SHARDS, check_server, check_shards, examine, shards_of
from edgerouter_nats.spool.letters import Letters, letters_config
from edgerouter_nats.spool.link import Link
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.operator import JetStreamTools, LetterAccounts
from edgerouter_nats.spool.proof import prove
from edgerouter_nats.spool.sharing import Sharding, Sharing
from edgerouter_nats.spool.spool import JetStreamSpool
from edgerouter_nats.spool.state import Stale, State
from edgerouter_nats.spool.stream import create, patiently


class JetStreamSpoolPlugin(SpoolPlugin):
    """Opens the spool that several routers share."""

    Config: ClassVar[type[SpoolSection]] = JetStreamSpoolConfig

    @classmethod
    @asynccontextmanager
    async def open(cls, config: JetStreamSpoolConfig, context: SpoolContext) -> AsyncIterator[Spool]:
        router = config.router or context.host
        # a command looks beside a router that may run here
        folder: Any = nullcontext() if context.command else locked_folder(config.path)
        with folder:
            async with connecting(config, f"edgerouter spool {router}", echo=False) as connector:
                await patiently(lambda: check_server(connector, config))
                api = Api(Link(connector), config.domain)
                if not context.command:
                    async with _opened(api, connector, config, router) as spool:
                        yield spool
                    return
                # another process of the same name would be fenced by it
                alone = f"{router} command {secrets.token_hex(4)}"
                async with _opened(api, connector, config, alone, command=True) as spool:
                    yield spool
                with suppress(Unavailable, SpoolError):
                    names = Names(config.stream)
                    await State(api, names).delete(names.router_key(alone))

    @classmethod
    async def examine(cls, config: JetStreamSpoolConfig, context: SpoolContext) -> str:
        async with connecting(config, f"edgerouter check {config.router or context.host}") as connector:
            return await examine(Api(Link(connector), config.domain), connector, config)


@asynccontextmanager
async def _opened(
    api: Api, connector: Connector, config: JetStreamSpoolConfig, router: str, *, command: bool = False
) -> AsyncIterator[Spool]:
    names = Names(config.stream)
    letters = Letters(api, names)
    async with running(api, config, router, letters) as engine:
        await patiently(lambda: create(api, letters_config(names, replicas=config.replicas, max_bytes=config.dead_letter_bytes)))
        await patiently(lambda: prove(api, connector, config, (names.stream, names.state, names.dead_letters)))
        await patiently(lambda: _agree_on_shards(engine, config))
        spool = JetStreamSpool(engine, config, lambda made: JetStreamTools(made, letters))
        sharing = Sharing(spool, Sharding(config.shards, config.shard_by), engine.state, names, router=router, lease=config.lease)
        accounts = LetterAccounts(spool, letters, config.dead_letter_bytes)
        spool.sharer = sharing
        overview = spool.overview
        overview.dead_letters = lambda: (accounts.count, accounts.bytes)
        overview.routers = lambda: sharing.leases.routers
        overview.troubles = sharing.leases.troubles
        overview.lease = lambda: (sharing.leases.seconds, sharing.leases.lost)
        if command:
            spool.acquire = sharing.acquire
            overview.whole = True
            await patiently(engine.trimming.refresh)
            await patiently(accounts.look)
        task = asyncio.get_running_loop().create_task(accounts.run(), name="spool-dead-letters")
        try:
            async with sharing.running():
                yield spool
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _agree_on_shards(engine: Engine, config: JetStreamSpoolConfig) -> None:
    """Refuse a division into shards that differs from that of the routers before.

    Raises:
        SpoolUnusable: it differs.
    """
    while True:
        found = await engine.state.read(SHARDS)
        if found is None:
            try:
                await engine.state.write(SHARDS, shards_of(config).encode())
            except Stale:
                continue
            return
        check_shards(found[0], config)
        return
