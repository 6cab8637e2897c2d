"""Translate errors that a secret store should not raise, so that no store can end the router."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from edgerouter.errors import Unavailable

log = structlog.get_logger("edgerouter.secrets")


@contextmanager
def counted_as_down(store: str) -> Iterator[None]:
    """Treat every error outside the contract as a store that is down.

    Args:
        store: its name.

    Raises:
        Unavailable: in place of such an error. Its text may hold a secret, so only its type is shown.
    """
    try:
        yield
    except (Unavailable, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001  (captive portals, proxies and bugs make a store's client raise anything)
        kind = type(error).__name__
        place = traceback.extract_tb(error.__traceback__)[-1]
        log.error(  # noqa: TRY400  (its text is not to be shown)
            "a secret store failed with an error that it should not raise",
            store=store,
            error=kind,
            place=f"{place.filename}:{place.lineno}",
        )
        raise Unavailable(f"secret store {store}: failed with {kind}, which it should not raise") from None
