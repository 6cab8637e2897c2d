"""The messages of Sparkplug B, described for the protobuf library (Sparkplug 3.0, 6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE: Final = "edgerouter.sparkplug"
_Type = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final[Mapping[str, _Type.Type.ValueType]] = {
    "uint32": _Type.TYPE_UINT32,
    "uint64": _Type.TYPE_UINT64,
    "float": _Type.TYPE_FLOAT,
    "double": _Type.TYPE_DOUBLE,
    "bool": _Type.TYPE_BOOL,
    "string": _Type.TYPE_STRING,
    "bytes": _Type.TYPE_BYTES,
}


def _values(first: int) -> dict[str, tuple[int, str]]:
    """Return the simple values that several messages have in the same order, from this field number on."""
    names = (
        ("int", "uint32"),
        ("long", "uint64"),
        ("float", "float"),
        ("double", "double"),
        ("boolean", "bool"),
        ("string", "string"),
    )
    return {f"{name}_value": (first + place, kind) for place, (name, kind) in enumerate(names)}


_MESSAGES: Final[Mapping[str, Mapping[str, tuple[int, str]]]] = {
    "MetaData": {
        "is_multi_part": (1, "bool"),
        "content_type": (2, "string"),
        "size": (3, "uint64"),
        "seq": (4, "uint64"),
        "file_name": (5, "string"),
        "file_type": (6, "string"),
        "md5": (7, "string"),
        "description": (8, "string"),
    },
    "PropertyValue": {
        "type": (1, "uint32"),
        "is_null": (2, "bool"),
        **_values(3),
        "propertyset_value": (9, "PropertySet"),
        "propertysets_value": (10, "PropertySetList"),
    },
    "PropertySet": {"keys": (1, "repeated string"), "values": (2, "repeated PropertyValue")},
    "PropertySetList": {"propertyset": (1, "repeated PropertySet")},
    "DataSetValue": _values(1),
    "Row": {"elements": (1, "repeated DataSetValue")},
    "DataSet": {
        "num_of_columns": (1, "uint64"),
        "columns": (2, "repeated string"),
        "types": (3, "repeated uint32"),
        "rows": (4, "repeated Row"),
    },
    "Parameter": {"name": (1, "string"), "type": (2, "uint32"), **_values(3)},
    "Template": {
        "version": (1, "string"),
        "metrics": (2, "repeated Metric"),
        "parameters": (3, "repeated Parameter"),
        "template_ref": (4, "string"),
        "is_definition": (5, "bool"),
    },
    "Metric": {
        "name": (1, "string"),
        "alias": (2, "uint64"),
        "timestamp": (3, "uint64"),
        "datatype": (4, "uint32"),
        "is_historical": (5, "bool"),
        "is_transient": (6, "bool"),
        "is_null": (7, "bool"),
        "metadata": (8, "MetaData"),
        "properties": (9, "PropertySet"),
        **_values(10),
        "bytes_value": (16, "bytes"),
        "dataset_value": (17, "DataSet"),
        "template_value": (18, "Template"),
    },
    "Payload": {
        "timestamp": (1, "uint64"),
        "metrics": (2, "repeated Metric"),
        "seq": (3, "uint64"),
        "uuid": (4, "string"),
        "body": (5, "bytes"),
    },
}
"""Number and type of each field, by message and name."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="edgerouter/sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, text) in fields.items():
            kind = text.removeprefix("repeated ")
            label = _Type.LABEL_REPEATED if kind != text else _Type.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _Type.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
Payload: Final[Any] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.Payload"))
"""Class of a payload; `FromString` raises `google.protobuf.message.DecodeError`."""
