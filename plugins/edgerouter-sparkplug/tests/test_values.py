"""Every data type has its value in JSON."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from edgerouter import BadInput
from edgerouter_sparkplug.payload import Payload
from edgerouter_sparkplug.values import MOST_LEVELS, NAMES, metadata_of, properties_of, value_of


def metric(**fields: Any) -> Any:
    return Payload().metrics.add(**fields)


@pytest.mark.parametrize(
    ("kind", "fields", "value"),
    [
        ("Int8", {"int_value": 0xFFFFFF80}, -128),
        ("Int8", {"int_value": 127}, 127),
        ("Int16", {"int_value": 0xFFFF}, -1),
        ("Int64", {"long_value": 2**64 - 2}, -2),
        ("UInt64", {"long_value": 2**64 - 2}, 2**64 - 2),
        ("UInt32", {"int_value": 2**32 - 1}, 2**32 - 1),
        ("Double", {"double_value": 0.1}, 0.1),
        ("Double", {"double_value": float("nan")}, None),
        ("Boolean", {"boolean_value": False}, False),
        ("String", {"string_value": "ü"}, "ü"),
        ("DateTime", {"long_value": 1_700_000_000_000}, 1_700_000_000_000),
        ("Bytes", {"bytes_value": b"\x00\xff"}, "AP8="),
        ("Int16Array", {"bytes_value": struct.pack("<2h", -1, 2)}, [-1, 2]),
        ("DoubleArray", {"bytes_value": struct.pack("<2d", 0.5, float("inf"))}, [0.5, None]),
        ("BooleanArray", {"bytes_value": b"\x03\x00\x00\x00\xa0"}, [True, False, True]),
        ("StringArray", {"bytes_value": b"a\0bc\0"}, ["a", "bc"]),
        ("Unknown", {}, None),
    ],
)
def test_a_value_is_read_by_its_data_type(kind: str, fields: dict[str, Any], value: Any) -> None:
    assert value_of(metric(**fields), kind) == value


def test_numbers_of_data_types_are_those_of_the_specification() -> None:
    assert [NAMES.index(name) for name in ("Int8", "UInt64", "Boolean", "UUID", "Template", "Int8Array", "DateTimeArray")] == [
        *(1, 8, 11, 15, 19, 22, 34)
    ]


def test_a_data_set_is_a_list_of_objects() -> None:
    found = metric()
    found.dataset_value.columns.extend(["n", "t"])
    found.dataset_value.types.extend([3, 12])
    row = found.dataset_value.rows.add()
    row.elements.add(int_value=2**32 - 1)
    row.elements.add(string_value="a")
    assert value_of(found, "DataSet") == [{"n": -1, "t": "a"}]


def test_a_template_holds_its_metrics_and_parameters() -> None:
    found = metric()
    found.template_value.template_ref = "motor"
    found.template_value.parameters.add(name="size", type=3, int_value=5)
    found.template_value.metrics.add(name="rpm", datatype=3, int_value=7)
    found.template_value.metrics.add(name="off", datatype=3, is_null=True)
    assert value_of(found, "Template") == {"template": "motor", "parameters": {"size": 5}, "values": {"rpm": 7, "off": None}}


def test_metadata_and_properties_are_mappings() -> None:
    found = metric()
    found.metadata.content_type = "text/plain"
    found.properties.keys.extend(["unit", "inner"])
    found.properties.values.add(type=12, string_value="C")
    inner = found.properties.values.add(type=20).propertyset_value
    inner.keys.append("low")
    inner.values.add(type=3, int_value=1)
    assert metadata_of(found.metadata) == {"content_type": "text/plain"}
    assert properties_of(found.properties) == {"unit": "C", "inner": {"low": 1}}


@pytest.mark.parametrize(
    ("kind", "body"), [("Int32Array", b"\x01\x02\x03"), ("BooleanArray", b"\xff\xff\xff\x7f\x00"), ("BooleanArray", b"\x01")]
)
def test_an_array_that_does_not_fit_its_type_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(BadInput, match=f"are not a {kind}"):
        value_of(metric(bytes_value=body), kind)


def test_nesting_is_bounded() -> None:
    found = outer = metric()
    for _ in range(MOST_LEVELS + 5):
        outer = outer.template_value.metrics.add(name="a", datatype=19)
    outer.int_value = 1
    with pytest.raises(BadInput, match="nested more than"):
        value_of(found, "Template")
