"""`edgerouter try`: print what a sink would send for messages out of a file, and why some are not sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from typing import BinaryIO

from edgerouter.cli.output import counted, say
from edgerouter.config.model import ConfiguredSink, RouterConfig
from edgerouter.config.validation import nearest
from edgerouter.errors import ConfigurationError
from edgerouter.message import Message
from edgerouter.objects.framing import encode
from edgerouter.pipeline.shaping.lines import SPOOL, read
from edgerouter.pipeline.shaping.trial import Trial
from edgerouter.topics import check_name


def try_steps(config: RouterConfig, sink: str, lines: BinaryIO, *, topic: str | None, explain: bool) -> None:
    """Print what is sent to standard output, as JSON Lines, and the rest to standard error.

    Args:
        config: a valid configuration.
        sink: name of the sink.
        lines: messages, as `lines.read` takes them.
        topic: of all messages, which are bare payloads then.
        explain: print each message behind each step.

    Raises:
        ConfigurationError: there is no such sink, or the topic cannot be one.
        EdgerouterError: a line cannot be read.
    """
    if topic is not None:
        try:
            check_name(topic)
        except ValueError as error:
            raise ConfigurationError(f"--topic: {error}") from None
    trial = Trial(_named(config, sink), config.host, SPOOL, partial(say, err=True) if explain else None)
    number = 0
    for number, message in enumerate(read(lines, topic), start=1):  # noqa: B007  (the last is their number)
        refused = len(trial.rejected)
        _print(trial.put(message))
        _say_rejected(trial.rejected[refused:])
    refused = len(trial.rejected)
    _print(trial.end())
    _say_rejected(trial.rejected[refused:])
    _sum_up(trial, number)


def _named(config: RouterConfig, name: str) -> ConfiguredSink:
    for sink in config.sinks:
        if sink.name == name:
            return sink
    raise ConfigurationError(f"--sink: no sink {name!r} is configured" + nearest(name, [sink.name for sink in config.sinks]))


def _print(messages: list[Message]) -> None:
    if messages:
        sys.stdout.buffer.write(encode(messages, "jsonl"))
        sys.stdout.buffer.flush()


def _say_rejected(rejected: Iterable[tuple[Message, str]]) -> None:
    for message, reason in rejected:
        say(f"dead letter: {message.id} {message.topic}: {reason}", err=True)


def _sum_up(trial: Trial, messages: int) -> None:
    parts = [f"{counted(messages, 'message')}: {trial.sent} sent, {trial.filtered} filtered"]
    if trial.rejected:
        parts.append(f"{len(trial.rejected)} dead-lettered")
    if trial.unmatched:
        parts.append(f"{trial.unmatched} not matched by the sink's `topics`")
    say(", ".join(parts), err=True)
    for step, reasons in trial.chain.counted.items():
        say(f"  {step}: " + ", ".join(f"{reason} {number}" for reason, number in reasons.items()), err=True)
