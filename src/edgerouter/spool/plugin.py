"""The contract of a spool that a first-party distribution brings, by the entry-point group `edgerouter.spools`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from edgerouter.config.model import SpoolSection
from edgerouter.spool.contract import Spool


@dataclass(frozen=True, slots=True)
class SpoolContext:
    """Facts that the router gives to a spool when it opens it."""

    host: str
    """The device's name."""
    command: bool = False
    """True where a command opens the spool by itself, possibly beside routers elsewhere that use it: read, change what the command
    asks for, and drain nothing."""


class SpoolPlugin(ABC):
    """Opens a spool of one type."""

    Config: ClassVar[type[SpoolSection]]
    """Model of the section `spool`; its `type` is the name of the entry point."""

    @classmethod
    @abstractmethod
    def open(cls, config: Any, context: SpoolContext) -> AbstractAsyncContextManager[Spool]:
        """Lock the folder, open the spool or make it, yield it, close it on exit.

        Args:
            config: an instance of `Config`.
            context: facts of the router.

        Raises:
            SpoolUnusable: it cannot be opened as configured.
        """

    @classmethod
    async def examine(cls, config: Any, context: SpoolContext) -> str:  # noqa: ARG003  (for those that have something to look at)
        """Look whether the spool can be opened, for `check --connect`: create, change and lock nothing.

        Returns:
            What was found, for the operator.

        Raises:
            SpoolUnusable: it cannot be opened as configured; the message says what to set.
            Unavailable: nothing answers.
        """
        return ""
