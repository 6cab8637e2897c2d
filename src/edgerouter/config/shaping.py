"""Sections of the configuration that concern shaping: an entry of `steps`, and `tests` of what the steps of a sink make."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from edgerouter.config.tree import Node, Origin
from edgerouter.config.validation import Part, Problems, nearest
from edgerouter.json_codec import encoded
from edgerouter.section import Section
from edgerouter.topics import TopicName
from edgerouter.units import Duration

SECTION: Final = "tests"


class StepEntry(Section, extra="allow"):
    """One step: its type, and beside it the fields of that type."""

    type: str = Field(examples=["filter"])
    """The step."""

    def __repr__(self) -> str:
        return f"StepEntry(type={self.type!r})"  # its fields may hold a secret


def payload_of(value: Any) -> bytes:
    """Return the payload that a value of JSON or YAML stands for: a text for itself, `{base64: ...}` for bytes, else a document.

    Raises:
        ValueError: it cannot be a payload.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"is not base64: {error}") from None
    try:
        return encoded(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"is not a JSON document: {error}") from None


def _checked(value: Any) -> Any:
    payload_of(value)
    return value


PayloadValue = Annotated[Any, AfterValidator(_checked)]


class Given(Section):
    """A message that the sink gets."""

    topic: TopicName = Field(examples=["plant/a/temp"])
    """Its topic."""
    payload: PayloadValue = Field(examples=[{"fahrenheit": 70}])
    """Its payload: a text stands for itself, `{base64: ...}` for bytes, anything else for JSON."""
    at: Duration | None = Field(default=None, examples=["10s"])
    """Its time of reception, after the beginning of the test; without it a second after the message before."""


class Expected(Section):
    """A message that is sent."""

    topic: TopicName | None = Field(default=None, examples=["plant/a/temp"])
    """Its topic; without it any."""
    payload: PayloadValue = Field(examples=[{"celsius": 21}])
    """Its payload, as in `input`. JSON is compared by value, and fractions to nine digits."""


class ShapingTest(Section):
    """An example of what the steps of a sink make of messages; `edgerouter check` tries it, and `run` ignores it."""

    name: str = Field(min_length=1, max_length=200, examples=["Fahrenheit becomes Celsius"])
    """A sentence that names what holds."""
    sink: str = Field(examples=["archive"])
    """The sink whose `topics` and `steps` the messages go through."""
    input: tuple[Given, ...] = Field(
        min_length=1, max_length=10_000, examples=[[{"topic": "plant/a/temp", "payload": {"fahrenheit": 70}}]]
    )
    """Messages, in order. Their ids are `test-1`, `test-2`; behind the last one all windows end."""
    expect: tuple[Expected, ...] = Field(max_length=10_000, examples=[[{"payload": {"celsius": 21}}]])
    """All messages that are sent, in order; `[]` where none is."""
    expect_filtered: int | None = Field(default=None, ge=0, examples=[1])
    """Number of input messages that the steps filter; those that `topics` do not match are not among them."""
    expect_dead_letters: int | None = Field(default=None, ge=0, examples=[1])
    """Number of input messages that the steps refuse for the dead letters."""


class _Tests(Section):
    tests: tuple[ShapingTest, ...] = Field(default=(), max_length=10_000)


def read_tests(tree: Node, sinks: Iterable[str], problems: Problems) -> tuple[ShapingTest, ...]:
    """Return the tests that are written; what is wrong with them is added to `problems`.

    Args:
        tree: the whole configuration.
        sinks: names of the configured ones.
        problems: gets what is wrong.
    """
    node = tree.child(SECTION)
    if node is None or node.value is None:
        return ()
    found = Part(tree, (), Node({SECTION: node}, Origin(""))).validate(_Tests, problems)
    if found is None:
        return ()
    known = set(sinks)
    for number, test in enumerate(found.tests):
        if test.sink not in known:
            problems.at(tree, (SECTION, number, "sink"), f"no sink {test.sink!r} is configured" + nearest(test.sink, known))
    return found.tests
