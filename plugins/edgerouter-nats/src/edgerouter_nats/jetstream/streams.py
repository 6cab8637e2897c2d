"""Looks at streams and their consumers, with errors that name them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

from nats.errors import Error, NoRespondersError
from nats.js.api import StreamInfo
from nats.js.errors import APIError

from edgerouter import Unauthorized, Unavailable
from edgerouter_nats.connection import Connection
from edgerouter_nats.errors import said, shown

T = TypeVar("T")

_SECONDS: Final = 10.0


async def ask(connection: Connection, request: Awaitable[T], doing: str) -> T:
    """Wait for an answer of JetStream's API.

    Args:
        connection: over which it was asked.
        request: a call of nats-py.
        doing: what is asked, such as `look at stream plant`.

    Raises:
        Unauthorized: refused, or there is nothing of that name.
        Unavailable: no answer.
    """
    refusals: list[str] = []
    hear = refusals.append
    connection.client.refused.append(hear)
    try:
        return await connection.outcome(request, _SECONDS)
    except APIError as error:
        text = f"{doing}: {shown(error.description or 'no reason')} ({error.err_code})"
        kind = Missing if error.code == 404 else Unauthorized if 400 <= (error.code or 0) < 500 else Unavailable
        raise kind(text) from None
    except NoRespondersError:
        raise Unauthorized(f"{doing}: JetStream is not enabled here; look at the account and the domain") from None
    except (Error, TimeoutError) as error:
        if refusals:
            raise said(refusals[0], doing) from None
        raise Unavailable(f"{doing}: {shown(str(error).removeprefix('nats: ')) or 'no answer'}") from None
    finally:
        connection.client.refused.remove(hear)


class Missing(Unauthorized):
    """There is nothing of that name."""


async def check_stream(connection: Connection, stream: str) -> StreamInfo:
    """Return the description of a stream; raises as `ask` does."""
    manager = connection.jetstream(_SECONDS / 2)
    return await ask(connection, manager.stream_info(stream), f"look at stream {stream}")
