"""One step run as the router runs it, and payloads that no step may choke on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.message import Message
from edgerouter.step import Step, StepContext

FOR_EVER: Final = 2**63 - 1
START: Final = 1_700_000_000_000_000_000
SECOND: Final = 1_000_000_000

BAD_PAYLOADS: Final[tuple[bytes, ...]] = (
    *(b"", b" ", b"text", b"\xff\x00\xfe", b"{", b"null", b"true", b"[]", b"{}", b'""', b"\x00" * 1000),
    *(b"NaN", b'{"value": NaN}', b"[-Infinity]", b"1e999", b"-1e-999", b"9" * 400, b"9" * 5000, b'{"value": 1e308}'),
    *(b'{"value": 1, "value": "two"}', b'{"": {"": ""}}', b'"\\ud800"', b'{"value": "\\u0000"}'),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900),
    *(b"[%b]" % b",".join([b"[[%b]]" % b",".join([b"1.5"] * 100)] * 2500), b'{"value": "%b"}' % (b"x" * 1_000_000)),
)
"""Not JSON, empty, binary, not finite, huge, twice the same name, nested too deeply, a megabyte of nested lists."""
BAD_VALUES: Final[tuple[Any, ...]] = (None, True, "", "text", "x" * 10_000, -1, 10**400, 1e308, [], [[]], {}, {"a": {"b": [None]}})
"""In place of each member of a sample."""


class Result(NamedTuple):
    """One message that a step let go on."""

    place: str
    topic: str
    payload: bytes
    properties: Any
    received_at: int


class Bench:
    """A step with a context that records its calls.

    Args:
        step_class: the step.
        config: its fields as in the YAML file.
        on_error: handling of what it refuses.
    """

    def __init__(self, step_class: type[Step[Any]], config: Mapping[str, Any], on_error: str | None = None) -> None:
        fields = dict(config) if on_error is None else {**config, "on_error": on_error}
        self.model: Any = step_class.Config.model_validate(fields)
        self.refused: list[tuple[Item, BadInput]] = []
        self.dropped: list[Item] = []
        self.step = step_class(self.model, StepContext("sink", "box", "spool", self._refuse, self._drop))

    def _refuse(self, item: Item, error: BadInput) -> bool:
        self.refused.append((item, error))
        return bool(self.model.on_error == "pass")

    def _drop(self, item: Item, reason: str) -> None:
        assert reason, "`context.drop` needs a reason, which is counted"
        self.dropped.append(item)

    def apply(self, items: list[Item]) -> list[Item]:
        """Apply the step to a list, which it may keep or change."""
        out = self.step.apply(list(items))
        assert isinstance(out, list), "`apply` returns a list"
        return out

    def results(self, messages: Sequence[Message], at_once: int) -> list[Result]:
        """Return all that becomes of messages, given in lists of so many; what the step holds comes last."""
        found: list[Item] = []
        for begin in range(0, len(messages), at_once):
            found += self.apply([Item(message, message) for message in messages[begin : begin + at_once]])
        found += self.step.flush(FOR_EVER)
        return [result_of(item) for item in found]


def result_of(item: Item) -> Result:
    """Return what a sink would get of an item."""
    item.finish()
    message = item.message
    return Result(message.place, message.topic, message.payload, message.properties, message.received_at)


def stored(samples: Sequence[Message | bytes], *, topic: str = "plant/machine/value") -> list[Message]:
    """Return samples as the spool holds them, a second apart."""
    return [
        msgspec.structs.replace(
            sample if isinstance(sample, Message) else Message(topic, sample, 0),
            received_at=START + number * SECOND,
            spool="spool",
            sequence=number,
        )
        for number, sample in enumerate(samples, start=1)
    ]


def damaged(samples: Sequence[Message | bytes]) -> Iterator[bytes]:
    """Yield the samples with each of their members replaced by what it should not be, or left out."""
    for sample in samples:
        try:
            document = json.loads(sample.payload if isinstance(sample, Message) else sample)
        except ValueError:
            continue
        for name in document if isinstance(document, dict) else ():
            yield json.dumps({key: value for key, value in document.items() if key != name}).encode()
            for value in BAD_VALUES:
                yield json.dumps({**document, name: value}).encode()
