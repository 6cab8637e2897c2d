"""Logs on standard error: readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from edgerouter.config.model import LogConfig

_THIRD_PARTY = (
    "aiomqtt",
    "paho",
    "botocore",
    "aiobotocore",
    "azure",
    "aiohttp",
    "gcloud",
    "asyncio",
    "stevedore",
    "amqtt",
    "transitions",
)


def configure(config: LogConfig) -> None:
    """Set up structlog and the standard library's logging, for the whole process.

    Libraries log warnings and worse, whatever our own level: at debug level some of them print requests with credentials.
    """
    terminal = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("edgerouter").setLevel(config.level.upper())
    for name in _THIRD_PARTY:
        logging.getLogger(name).setLevel(logging.WARNING)
