"""The step `filter`: let through what meets all conditions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

from edgerouter.errors import BadInput
from edgerouter.item import UNREAD, Item
from edgerouter.section import Section
from edgerouter.step import Step, StepConfig, StepContext
from edgerouter.steps.expressions import Expression, compiled
from edgerouter.steps.paths import MISSING, FieldPath, getter, kind_of, parse_path, top
from edgerouter.topic_cache import TopicCache, key_weight
from edgerouter.topics import Matcher, TopicFilter

MOST_CHARACTERS: Final = 4096
"""Longest text that a regular expression looks at."""

_NUMBERS: Final = (float, int)
Scalar = bool | int | float | str | None


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Comparison(Section):
    """One member of the document, and what it is compared with; all that is given must hold."""

    field: FieldPath = Field(examples=["state"])
    """Path of the member: `temperature`, `engine.rpm`, `values.0`."""
    equals: Scalar = Field(default=None, examples=["running"])
    """It is this."""
    not_equals: Scalar = Field(default=None, examples=["idle"])
    """It is not this; a missing member is not."""
    above: float | None = Field(default=None, examples=[80])
    """It is a number above this."""
    at_least: float | None = Field(default=None, examples=[80])
    """It is a number, this or above."""
    below: float | None = Field(default=None, examples=[5])
    """It is a number below this."""
    at_most: float | None = Field(default=None, examples=[5])
    """It is a number, this or below."""
    one_of: tuple[Scalar, ...] | None = Field(default=None, examples=[["alarm", "fault"]])
    """It is one of these."""
    matches: Pattern | None = Field(default=None, examples=["^alarm"])
    """It is a text in which this regular expression is found."""
    exists: bool | None = None
    """It is there, or with `false` it is not."""

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not self.model_fields_set - {"field"}:
            raise ValueError("compares with nothing; add equals, above, at_least, below, at_most, one_of, matches or exists")
        return self


class FilterConfig(StepConfig):
    """Lets through what meets all conditions that are given; the rest is filtered."""

    topics: tuple[TopicFilter, ...] = Field(default=(), examples=[["plant/+/alarm"]])
    """MQTT topic filters; any of them matches."""
    topic_regex: Pattern | None = Field(default=None, examples=["^plant/[ab]/"])
    """A regular expression that is found in the topic."""
    fields: tuple[Comparison, ...] = Field(default=(), max_length=50, examples=[[{"field": "temperature", "above": 80}]])
    """Comparisons of members of a JSON payload; all hold."""
    where: Expression | None = Field(default=None, examples=["temperature > `80`"])
    """A JMESPath expression that is true: not `false`, `null`, or empty."""
    invert: bool = False
    """Let through the others."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.topics or self.topic_regex or self.fields or self.where):
            raise ValueError("has no condition; add topics, topic_regex, fields or where")
        return self


class FilterStep(Step[FilterConfig]):
    """Compiled once to functions of the topic and of the document."""

    selects = True

    def __init__(self, config: FilterConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self.reads = bool(config.fields or config.where)
        self._topic = _topic_condition(config)
        self._document = _document_condition(config) if self.reads else None
        self._bound = _only_bound(config)

    def apply(self, items: list[Item]) -> list[Item]:
        if self._bound is None:
            return self._meeting(items)
        # the most usual filter, a number at the top of the document, in a loop without calls
        name, compare, bound = self._bound
        wanted, meeting, out = not self.config.invert, self._meeting, []
        for item in items:
            document = item.read
            value = document.get(name, MISSING) if document.__class__ is dict else None
            if value.__class__ is float or value.__class__ is int:
                if compare(value, bound) is wanted:
                    out.append(item)
            elif value is not MISSING:
                out += meeting([item])
            elif not wanted:
                out.append(item)
        return out

    def _meeting(self, items: list[Item]) -> list[Item]:
        """Return the items that meet the conditions, or that `on_error` lets through."""
        topic, wanted = self._topic, not self.config.invert
        if self._document is None:
            assert topic is not None, "a filter has a condition"
            return [item for item in items if topic[item.message.topic] is wanted]
        holds, refuse, out = self._document, self.context.refuse, []
        for item in items:
            try:
                if topic is not None and not topic[item.message.topic]:
                    goes_on = not wanted
                else:
                    document = item.read
                    if document is UNREAD or document.__class__ is BadInput:
                        document = item.document
                    goes_on = holds(document) is wanted
            except BadInput as error:
                goes_on = refuse(item, error)
            if goes_on:
                out.append(item)
        return out


def _only_bound(config: FilterConfig) -> tuple[str, Callable[[Any, Any], bool], float] | None:
    """Return name, comparison and bound of a number, where that is the only condition and the number at the top of the document."""
    if len(config.fields) != 1 or config.topics or config.topic_regex is not None or config.where is not None:
        return None
    (comparison,) = config.fields
    member, (given, *others) = top(parse_path(comparison.field)), comparison.model_fields_set - {"field"}
    if member is None or others or given not in _COMPARE:
        return None
    return member, _COMPARE[given], getattr(comparison, given)


def _topic_condition(config: FilterConfig) -> TopicCache[str, bool] | None:
    matcher = Matcher(config.topics) if config.topics else None
    pattern = re.compile(config.topic_regex) if config.topic_regex is not None else None
    if matcher is None and pattern is None:
        return None

    def holds(topic: str) -> bool:
        return (matcher is None or matcher(topic)) and (pattern is None or bool(pattern.search(topic[:MOST_CHARACTERS])))

    return TopicCache(holds, weigh=key_weight)


def _document_condition(config: FilterConfig) -> Callable[[Any], bool]:
    conditions = [_condition(comparison) for comparison in config.fields]
    if config.where is not None:
        where = compiled(config.where)
        conditions.append(lambda document: _is_true(where(document)))
    if len(conditions) == 1:
        return conditions[0]
    return lambda document: all(condition(document) for condition in conditions)


def _is_true(value: Any) -> bool:
    """Return false for what JMESPath takes as false: `null`, `false`, and what is empty; 0 is not."""
    return bool(value) or value.__class__ in (int, float)


def _condition(comparison: Comparison) -> Callable[[Any], bool]:
    read = getter(parse_path(comparison.field))
    checks = [
        check
        for name, make in _CHECKS.items()
        if name in comparison.model_fields_set
        for check in [make(getattr(comparison, name))]
    ]
    given = comparison.model_fields_set
    if given == {"field", "exists"}:
        return lambda document: (read(document) is not MISSING) is comparison.exists
    missing = comparison.exists is False or ("not_equals" in given and not given - {"field", "not_equals"})

    def holds(document: Any) -> bool:
        value = read(document)
        if value is MISSING:
            return missing
        if comparison.exists is False:
            return False
        return all(check(value) for check in checks)

    if len(checks) == 1 and comparison.exists is None:
        (only,) = checks
        return lambda document: missing if (value := read(document)) is MISSING else only(value)
    return holds


def _compares(compare: Callable[[Any, Any], bool], bound: float) -> Callable[[Any], bool]:
    return lambda value: compare(value, bound) if value.__class__ in _NUMBERS else _not_compared(value)


def _not_compared(value: Any) -> bool:
    raise BadInput("wrong type", f"{kind_of(value)} is compared with a number")


def _equal(wanted: Scalar) -> Callable[[Any], bool]:
    if isinstance(wanted, bool) or wanted is None:
        return lambda value: value is wanted
    return lambda value: value == wanted and value.__class__ is not bool


def _one_of(wanted: Sequence[Scalar]) -> Callable[[Any], bool]:
    checks = [_equal(each) for each in wanted]
    return lambda value: any(check(value) for check in checks)


def _matches(text: str) -> Callable[[Any], bool]:
    pattern = re.compile(text)

    def found(value: Any) -> bool:
        if not isinstance(value, str):
            raise BadInput("wrong type", f"{kind_of(value)} is compared with a regular expression")
        if len(value) > MOST_CHARACTERS:
            raise BadInput("too large", f"a text of {len(value)} characters is compared with a regular expression")
        return pattern.search(value) is not None

    return found


def _not_equal(wanted: Scalar) -> Callable[[Any], bool]:
    equal = _equal(wanted)
    return lambda value: not equal(value)


_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
}
_CHECKS: Final[dict[str, Callable[[Any], Callable[[Any], bool]]]] = {
    "equals": _equal,
    "not_equals": _not_equal,
    **{name: partial(_compares, compare) for name, compare in _COMPARE.items()},
    "one_of": _one_of,
    "matches": _matches,
}
