"""The walk of a request: client, topic, rate, body, messages, commit, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, cast

from aiohttp import web

from edgerouter.http_server.connections import Connection
from edgerouter.http_server.problems import Problem
from edgerouter.source import SourceContext
from edgerouter.sources.http.accepted import Accepted, stays_open
from edgerouter.sources.http.bodies import Bodies, no_room
from edgerouter.sources.http.clients import Clients
from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.messages import Messages
from edgerouter.sources.http.rate import RateLimit
from edgerouter.sources.http.repeats import KEY_HEADER, Repeats
from edgerouter.sources.http.targets import Targets
from edgerouter.sources.http.waiting import WaitingRoom

_METHODS: Final = frozenset({"POST", "PUT"})
_REPEATED: Final = {"Idempotent-Replayed": "true"}


class Requests:
    """Answers the requests of all connections of a source.

    Args:
        config: of the source.
        context: of the source.
        connections: those that are open.
    """

    def __init__(self, config: HttpSourceConfig, context: SourceContext, connections: Collection[object]) -> None:
        self._clients = Clients(config)
        self._targets = Targets(config.path, config.topic_prefix)
        self._rate = RateLimit(config.rate, asyncio.get_running_loop().time)
        self._repeats = Repeats(config.max_idempotency_keys, context.unacknowledged)
        self.waiting = WaitingRoom(config, context, self._repeats)
        self._messages = Messages(config.user_properties)
        self._most_bytes = config.max_unacknowledged_bytes
        self._bodies = Bodies(config.max_body_bytes, config.max_batch_messages, self._room)
        self._connections = connections
        self._accepted = Accepted()
        self._flush_now = context.flush_now

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, after the commit if it stores messages."""
        connection = cast("Connection", request.protocol)
        connection.receiving()
        try:
            repeated = await self._store(request, connection)
        except Problem as problem:
            return problem.response()
        finally:
            connection.answered()
        if not repeated and stays_open(request):
            return self._accepted
        return web.Response(status=202, headers={"Server": "edgerouter", **(_REPEATED if repeated else {})})

    async def _store(self, request: web.BaseRequest, connection: Connection) -> bool:
        """Store the messages of a request; return true if an equal request had stored them before."""
        client = self._clients.client(request)
        if request.method not in _METHODS:
            raise Problem(405, "messages are sent with POST or PUT", headers={"Allow": "POST, PUT"})
        topic, form = self._targets.target(request)
        if not client.allows(topic):
            raise Problem(403, f"this client may not write to {topic[:200]!r}: see `topics` of the source and of its token")
        who = "" if self._rate.unlimited else client.name or request.remote or ""
        if not self._rate.unlimited:
            self._rate.check(who)
        self.waiting.check()
        if self._room() < 0:
            raise no_room()
        body = await self._bodies.receive(request)
        connection.answering()
        repeat = None
        if (key := request.headers.get(KEY_HEADER)) is not None:
            repeat, stored = self._repeats.look_up(client.name, key, topic, body)
            if stored:
                return True
        messages = self._messages.of(topic, self._bodies.split(body, form), request.headers)
        if not self._rate.unlimited:
            self._rate.count(who, len(messages))
        if len(self.waiting.requests) + 1 >= len(self._connections):
            self._flush_now()  # every client waits for its answer, and sends nothing before
        await self.waiting.stored(messages, repeat)
        return False

    def _room(self) -> int:
        return self._most_bytes - self.waiting.inbox.bytes - self._bodies.held
