"""Ask the secret stores which sinks are on, where there is no file that says it."""

from __future__ import annotations

import asyncio
from typing import Final

from edgerouter.cloudblock.declared import CHAIN, Known
from edgerouter.cloudblock.store_chain import ChainConfig, StoreChain
from edgerouter.config.last_known import LastKnown
from edgerouter.errors import SecretMissing, Unauthorized, Unavailable
from edgerouter.secrets import SecretStoreContext

_AT_ONCE: Final = 8
"""Questions under way together: there are dozens, and on a slow link each takes its time."""


async def ask(chain: ChainConfig, known: Known, last_known: LastKnown) -> str:
    """Find out what the stores have, as far as they answer.

    Args:
        chain: the stores, and what they are asked for.
        known: gets what is found out.
        last_known: says what they had when they were asked last, for those that do not answer.

    Returns:
        Why something is not known yet; empty when all is known.
    """
    unknown = [key for key in chain.lookups if key not in known]
    if not unknown:
        return ""
    refused: list[str] = []
    reason = ""
    places = asyncio.Semaphore(_AT_ONCE)

    async def find_out(key: str, stores: StoreChain) -> None:
        nonlocal reason
        try:
            async with places:
                found, value = await stores.find(key)
        except SecretMissing:
            known[key] = None
        except Unauthorized as error:
            refused.append(key)
            reason = reason or str(error)
        except Unavailable as error:
            reason = reason or str(error)
        else:
            known[key] = found
            last_known.keep(CHAIN, key, value)

    async with StoreChain.open(chain, SecretStoreContext(CHAIN)) as stores:
        await stores.open_all()
        async with asyncio.TaskGroup() as tasks:
            for key in unknown:
                tasks.create_task(find_out(key, stores), name=f"look up {key}")
    if any(known.get(key) for key in chain.lookups):
        # stores that let us in refuse what we may not read, whether or not it is there
        known |= dict.fromkeys(refused)
    before = last_known.known()
    last_known.keep_known(before | known)
    known |= {key: before[key] for key in unknown if key not in known and key in before}
    return reason if any(key not in known for key in chain.lookups) else ""
