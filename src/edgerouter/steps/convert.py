"""The step `convert`: other types, scales and units of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.section import Section
from edgerouter.step import StepConfig, StepContext
from edgerouter.steps.document_step import DocumentStep
from edgerouter.steps.paths import MISSING, FieldPath, getter, kind_of, parse_path, put, top

UNITS: Final[dict[str, tuple[str, float, float]]] = {
    "celsius": ("temperature", 1, 273.15),
    "kelvin": ("temperature", 1, 0),
    "fahrenheit": ("temperature", 5 / 9, 459.67 * 5 / 9),
    "pascal": ("pressure", 1, 0),
    "hectopascal": ("pressure", 100, 0),
    "kilopascal": ("pressure", 1000, 0),
    "bar": ("pressure", 100_000, 0),
    "psi": ("pressure", 6894.757293168361, 0),
    "metre": ("length", 1, 0),
    "millimetre": ("length", 0.001, 0),
    "kilometre": ("length", 1000, 0),
    "inch": ("length", 0.0254, 0),
    "foot": ("length", 0.3048, 0),
    "mile": ("length", 1609.344, 0),
    "metre_per_second": ("speed", 1, 0),
    "kilometre_per_hour": ("speed", 1 / 3.6, 0),
    "mile_per_hour": ("speed", 0.44704, 0),
    "knot": ("speed", 1852 / 3600, 0),
    "gram": ("mass", 0.001, 0),
    "kilogram": ("mass", 1, 0),
    "pound": ("mass", 0.45359237, 0),
    "joule": ("energy", 1, 0),
    "watt_hour": ("energy", 3600, 0),
    "kilowatt_hour": ("energy", 3_600_000, 0),
    "litre": ("volume", 0.001, 0),
    "cubic_metre": ("volume", 1, 0),
    "gallon": ("volume", 0.003785411784, 0),
}
"""Quantity, factor and offset to its base unit, by name; `gallon` is that of the United States."""


class Conversion(Section):
    """Conversion of one member: first the type, then unit, scale and offset, then rounding."""

    field: FieldPath = Field(examples=["temperature"])
    """Path of the member."""
    type: Literal["number", "integer", "text", "boolean"] | None = None
    """Make it this: a text `"21.5"` a number, a number a text, `"true"`, `"on"`, `1` a truth value."""
    from_unit: str | None = Field(default=None, examples=["fahrenheit"])
    """Unit that it has."""
    to_unit: str | None = Field(default=None, examples=["celsius"])
    """Unit that it gets."""
    scale: float = 1.0
    """Multiply by this."""
    offset: float = 0.0
    """Then add this."""
    round: int | None = Field(default=None, ge=0, le=15, examples=[1])
    """Then round to so many decimal places; `0` gives a whole number."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.from_unit is None) != (self.to_unit is None):
            raise ValueError("from_unit and to_unit stand together")
        if self.from_unit is not None and self.to_unit is not None:
            for unit in (self.from_unit, self.to_unit):
                if unit not in UNITS:
                    raise ValueError(f"{unit!r} is not a known unit; known are {', '.join(UNITS)}")
            if UNITS[self.from_unit][0] != UNITS[self.to_unit][0]:
                raise ValueError(f"{self.from_unit} is a {UNITS[self.from_unit][0]}, {self.to_unit} a {UNITS[self.to_unit][0]}")
        if self.type in ("text", "boolean") and (self.computes or self.round is not None):
            raise ValueError(f"a {self.type} has no unit, scale, offset or rounding")
        return self

    @property
    def computes(self) -> bool:
        """Its number changes."""
        return self.from_unit is not None or self.scale != 1.0 or self.offset != 0.0


class ConvertConfig(StepConfig):
    """Converts members of a JSON payload; one that is missing is left alone."""

    fields: tuple[Conversion, ...] = Field(
        min_length=1, max_length=1000, examples=[[{"field": "temperature", "from_unit": "fahrenheit", "to_unit": "celsius"}]]
    )
    """Conversions, in order."""


class ConvertStep(DocumentStep[ConvertConfig]):
    """Compiled once to a function for each member."""

    def __init__(self, config: ConvertConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._conversions = [(path, getter(path), _function(each)) for each in config.fields for path in [parse_path(each.field)]]

        self._lines = _lines(config.fields)

    def apply(self, items: list[Item]) -> list[Item]:
        lines, general = self._lines, super().apply
        if not lines:
            return general(items)
        # the most usual conversions, of numbers at the top of the document, in a loop without calls
        out: list[Item] = []
        least, most, finite = -_LARGEST, _LARGEST, math.isfinite
        for item in items:
            document, new = item.read, None
            if document.__class__ is dict:
                for name, scale, offset, places in lines:
                    value = document.get(name, MISSING)
                    if value is MISSING:
                        continue
                    if not (value.__class__ is float or value.__class__ is int) or not least < value < most:
                        break
                    found = value * scale + offset
                    if not finite(found):
                        break
                    if places is not None:
                        found = round(found, places) if places else round(found)
                    if new is None:
                        new = document.copy()
                    new[name] = found
                else:
                    if new is not None:
                        item.read = new
                        item.changed = True
                    out.append(item)
                    continue
            out += general([item])
        return out

    def change(self, document: Any) -> Any:
        copied = False
        for path, read, convert in self._conversions:
            value = read(document)
            if value is MISSING:
                continue
            new = convert(value)
            if len(path) == 1 and document.__class__ is dict:
                if not copied:
                    document = document.copy()
                    copied = True
                document[path[0]] = new
            else:
                document = put(document, path, new)
                copied = True
        return document


def _line(each: Conversion) -> tuple[float, float]:
    """Return scale and offset of a number, that of the units included."""
    scale, offset = each.scale, each.offset
    if each.from_unit is not None and each.to_unit is not None:
        _, factor, shift = UNITS[each.from_unit]
        _, to_factor, to_shift = UNITS[each.to_unit]
        offset += scale * (shift - to_shift) / to_factor
        scale *= factor / to_factor
    return scale, offset


def _lines(conversions: Sequence[Conversion]) -> list[tuple[str, float, float, int | None]]:
    """Return name, scale, offset and places of each conversion; nothing where one does more, is deeper, or repeats a member."""
    names = {
        name
        for each in conversions
        if each.computes and each.type in (None, "number") and (name := top(parse_path(each.field))) is not None
    }
    if len(names) != len(conversions):
        return []
    return [(parse_path(each.field)[0], *_line(each), each.round) for each in conversions]


def _function(each: Conversion) -> Callable[[Any], Any]:
    cast = _CASTS.get(each.type or "")
    if not each.computes and each.round is None:
        assert cast is not None or each.type is None, "every type has its function"
        return cast or (lambda value: value)
    scale, offset = _line(each)
    number = cast or _as_number
    places, whole = each.round, each.type == "integer"
    computes, isfinite = each.computes, math.isfinite

    def scaled(value: Any) -> Any:
        found = (value if value.__class__ is float else number(value)) * scale + offset
        if isfinite(found):
            return found
        raise BadInput("out of range", f"{value!r} has no finite result"[:200])

    if computes and places is None and not whole:
        return scaled

    def convert(value: Any) -> Any:
        found = value if value.__class__ is float and not whole else number(value)
        if computes:
            found = found * scale + offset
        if not isfinite(found):
            raise BadInput("out of range", f"{value!r} has no finite result"[:200])
        if places is not None:
            return round(found, places) if places else round(found)
        return round(found) if whole else found

    return convert


def _as_number(value: Any) -> Any:
    if value.__class__ is int or value.__class__ is float:
        return value if abs(value) < 1e300 or value.__class__ is float else _too_large(value)
    if value.__class__ is bool:
        return int(value)
    if not isinstance(value, str):
        raise BadInput("wrong type", f"{kind_of(value)} is not a number")
    text = value.strip()
    if len(text) > 400:
        raise BadInput("too large", f"a text of {len(text)} characters is not a number")
    try:
        number = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise BadInput("wrong type", f"{text[:100]!r} is not a number") from None
    if not math.isfinite(number if isinstance(number, float) else 0.0):
        raise BadInput("out of range", f"{text[:100]!r} is not finite")
    return number if abs(number) < 1e300 else _too_large(number)


def _too_large(value: Any) -> Any:
    raise BadInput("out of range", f"a number of {len(str(value))} digits")


def _as_integer(value: Any) -> int:
    number: float = _as_number(value)
    return round(number)


def _as_text(value: Any) -> str:
    if value.__class__ is str:
        return str(value)
    if value.__class__ is bool:
        return "true" if value else "false"
    if value.__class__ is int or value.__class__ is float:
        return str(value)
    raise BadInput("wrong type", f"{kind_of(value)} is not made a text")


_LARGEST: Final = 1e300
_TRUE: Final = frozenset({"true", "on", "yes", "1"})
_FALSE: Final = frozenset({"false", "off", "no", "0"})


def _as_boolean(value: Any) -> bool:
    if value.__class__ is bool:
        return bool(value)
    text = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    if text in _TRUE or text == "1.0":
        return True
    if text in _FALSE or text == "0.0":
        return False
    raise BadInput("wrong type", f"{kind_of(value)} is neither true nor false")


_CASTS: Final[dict[str, Callable[[Any], Any]]] = {
    "number": _as_number,
    "integer": _as_integer,
    "text": _as_text,
    "boolean": _as_boolean,
}
