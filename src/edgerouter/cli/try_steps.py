"""`edgerouter try`: print what a sink would send for messages from a file or the spool, and why some are not sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
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


def from_lines(lines: BinaryIO, topic: str | None) -> Iterator[Message]:
    """Return the messages of lines as `lines.read` takes them.

    Args:
        lines: such as standard input.
        topic: of all messages, which are bare payloads then.

    Raises:
        ConfigurationError: the topic cannot be one.
    """
    if topic is not None:
        try:
            check_name(topic)
        except ValueError as error:
            raise ConfigurationError(f"--topic: {error}") from None
    return read(lines, topic)


def try_steps(config: RouterConfig, sink: str, messages: Iterable[Message], *, explain: bool) -> None:
    """Print what is sent to standard output, as JSON Lines, and the rest to standard error.

    Args:
        config: a valid configuration.
        sink: name of the sink.
        messages: in their order.
        explain: print each message behind each step.

    Raises:
        ConfigurationError: there is no such sink.
        EdgerouterError: a message cannot be read.
    """
    trial = Trial(_named(config, sink), config.host, SPOOL, partial(say, err=True) if explain else None)
    number = rejected = 0
    for number, message in enumerate(messages, start=1):  # noqa: B007  (the last is their number)
        _print(trial.put(message))
        rejected += _say_rejected(trial.rejected)
    _print(trial.end())
    rejected += _say_rejected(trial.rejected)
    _sum_up(trial, number, rejected)


def _named(config: RouterConfig, name: str) -> ConfiguredSink:
    for sink in config.sinks:
        if sink.name == name:
            return sink
    raise ConfigurationError(f"--sink: no sink {name!r} is configured" + nearest(name, [sink.name for sink in config.sinks]))


def _print(messages: list[Message]) -> None:
    if messages:
        sys.stdout.buffer.write(encode(messages, "jsonl"))
        sys.stdout.buffer.flush()


def _say_rejected(rejected: list[tuple[Message, str]]) -> int:
    """Print dead letters and forget them: a spool may hold gigabytes of them. Returns how many."""
    for message, reason in rejected:
        say(f"dead letter: {message.id} {message.topic}: {reason}", err=True)
    said = len(rejected)
    rejected.clear()
    return said


def _sum_up(trial: Trial, messages: int, rejected: int) -> None:
    parts = [f"{counted(messages, 'message')}: {trial.sent} sent, {trial.filtered} filtered"]
    if rejected:
        parts.append(f"{rejected} dead-lettered")
    if trial.unmatched:
        parts.append(f"{trial.unmatched} not matched by the sink's `topics`")
    say(", ".join(parts), err=True)
    for step, reasons in trial.chain.counted.items():
        say(f"  {step}: " + ", ".join(f"{reason} {number}" for reason, number in reasons.items()), err=True)
