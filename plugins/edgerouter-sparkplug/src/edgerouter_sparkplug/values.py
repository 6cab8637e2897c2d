"""Values of metrics as JSON has them, by their data type (Sparkplug 3.0, 6.4.16)."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgerouter import BadInput

NAMES: Final = (
    *("Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean", "String"),
    *("DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList", "Int8Array"),
    *("Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array", "FloatArray"),
    *("DoubleArray", "BooleanArray", "StringArray", "DateTimeArray"),
)
"""Names of the data types, by number."""
_SIGNED: Final[Mapping[str, int]] = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}
_ARRAYS: Final[Mapping[str, str]] = {
    "Int8Array": "b",
    "Int16Array": "h",
    "Int32Array": "i",
    "Int64Array": "q",
    "UInt8Array": "B",
    "UInt16Array": "H",
    "UInt32Array": "I",
    "UInt64Array": "Q",
    "FloatArray": "f",
    "DoubleArray": "d",
    "DateTimeArray": "Q",
}
_SIMPLE: Final = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
MOST_LEVELS: Final = 20
"""Deepest nesting of templates and property sets."""


def type_name(number: int) -> str:
    """Return the name of a data type; an unknown one is `Unknown`."""
    return NAMES[number] if number < len(NAMES) else NAMES[0]


def value_of(metric: Any, kind: str, level: int = 0) -> Any:
    """Return the value of a metric or parameter.

    Args:
        metric: a message with values.
        kind: name of its data type.
        level: of nesting.

    Raises:
        BadInput: it is malformed, or nested too deeply.
    """
    if level > MOST_LEVELS:
        raise BadInput("too large", f"values are nested more than {MOST_LEVELS} deep")
    for name in _SIMPLE:
        if metric.HasField(name):
            return _simple(getattr(metric, name), kind)
    for name, read in _COMPOUND.items():
        if name in metric.DESCRIPTOR.fields_by_name and metric.HasField(name):
            return read(getattr(metric, name), kind, level + 1)
    return None


def properties_of(found: Any, level: int = 0) -> dict[str, Any]:
    """Return a property set as a mapping.

    Raises:
        BadInput: it is malformed, or nested too deeply.
    """
    return {
        name: None if value.is_null else value_of(value, type_name(value.type), level)
        for name, value in zip(found.keys, found.values, strict=False)
    }


def metadata_of(found: Any) -> dict[str, Any]:
    """Return metadata as a mapping of what is given."""
    return {field.name: value for field, value in found.ListFields()}


def _simple(value: Any, kind: str) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    bits = _SIGNED.get(kind)
    if bits is None or isinstance(value, bool | str):
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _bytes(value: bytes, kind: str, _level: int) -> Any:
    if kind in _ARRAYS:
        code = _ARRAYS[kind]
        if len(value) % struct.calcsize(f"<{code}"):
            raise BadInput("wrong type", f"{len(value)} bytes are not a {kind}")
        found = [each for (each,) in struct.iter_unpack(f"<{code}", value)]
        return [each if math.isfinite(each) else None for each in found] if code in "fd" else found
    if kind == "BooleanArray":
        if len(value) < 4 or (count := int.from_bytes(value[:4], "little")) > 8 * (len(value) - 4):
            raise BadInput("wrong type", f"{len(value)} bytes are not a BooleanArray")
        return [bool(value[4 + place // 8] >> (7 - place % 8) & 1) for place in range(count)]
    if kind == "StringArray":
        texts = value.split(b"\0")
        return [text.decode(errors="replace") for text in (texts[:-1] if not texts[-1] else texts)]
    return base64.b64encode(value).decode()


def _data_set(value: Any, _kind: str, _level: int) -> list[dict[str, Any]]:
    kinds = [type_name(number) for number in value.types]
    columns = [(name, kinds[place] if place < len(kinds) else NAMES[0]) for place, name in enumerate(value.columns)]
    return [
        {name: value_of(element, kind) for (name, kind), element in zip(columns, row.elements, strict=False)} for row in value.rows
    ]


def _template(value: Any, _kind: str, level: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if value.template_ref:
        found["template"] = value.template_ref
    if value.version:
        found["version"] = value.version
    if value.is_definition:
        found["definition"] = True
    if value.parameters:
        found["parameters"] = {each.name: value_of(each, type_name(each.type), level) for each in value.parameters}
    members = {each.name: None if each.is_null else value_of(each, type_name(each.datatype), level) for each in value.metrics}
    return {**found, "values": members}


_COMPOUND: Final[Mapping[str, Callable[[Any, str, int], Any]]] = {
    "bytes_value": _bytes,
    "dataset_value": _data_set,
    "template_value": _template,
    "propertyset_value": lambda value, _kind, level: properties_of(value, level),
    "propertysets_value": lambda value, _kind, level: [properties_of(each, level) for each in value.propertyset],
}
