"""Sets up the log: readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, get_args

import structlog

from edgerouter.config.model import LogConfig
from edgerouter.logs.fields import make_visible, mask_fields
from edgerouter.logs.folding import Folding
from edgerouter.logs.journal import PriorityFormatter, is_journal

Level = Literal["debug", "info", "warning", "error"]


def configure(config: LogConfig) -> None:
    """Configure structlog and the standard library's logging for the whole process.

    Libraries log only warnings and worse, at any level of the router: at debug level some print requests with credentials.
    """
    terminal = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    renderer: list[Any] = (
        [make_visible, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.processors.format_exc_info,
            mask_fields,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PriorityFormatter(formatter) if _in_journal() else formatter)
    root = logging.getLogger()
    root.handlers[:] = [Folding(handler)]
    root.setLevel(logging.WARNING)
    set_level(config.level)


def set_level(level: Level) -> None:
    """Write lines of this level and worse from now on."""
    logging.getLogger("edgerouter").setLevel(level.upper())


def present_level() -> Level:
    """Return the least level that is written."""
    present = logging.getLogger("edgerouter").getEffectiveLevel()
    return next((name for name in get_args(Level) if present <= logging.getLevelNamesMapping()[name.upper()]), "error")


def _in_journal() -> bool:
    try:
        return is_journal(sys.stderr.fileno())
    except (OSError, ValueError):  # standard error is closed, or is not a file
        return False
