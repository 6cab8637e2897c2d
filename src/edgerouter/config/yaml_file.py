"""Read a YAML file, or the value of a variable, into a tree whose every value knows its line and column."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.errors import ConfigurationError

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_MOST_BYTES = 4 * 1024 * 1024
_MOST_NODES = 100_000
"""Keys and values. A sink takes about 20 of them."""


def scalar(text: str) -> str | int | float | bool | None:
    """Return the meaning of a plain scalar.

    YAML 1.2 without its oddities: `on`, `yes`, `010`, `12:30`, `1_000`, `0x10` and dates are strings, because that is what users
    who write them for a queue name or a password mean. Where a number or a boolean is wanted, pydantic reads it from the string.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        # Python refuses to read numbers of more than 4300 digits; no configuration means one
        return int(text) if len(text) < 100 else text
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


class _Loader(yaml.SafeLoader):
    """Composes nodes only; what plain scalars mean is decided by `scalar`, not by YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML declares it without ClassVar)
    _composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count on the way: to compose a million of them takes minutes."""
        self._composed += 1
        if self._composed > _MOST_NODES:
            raise _TooManyNodes(problem_mark=self.get_mark())
        return super().compose_node(parent, index)


class _TooManyNodes(yaml.MarkedYAMLError):
    """The file has more nodes than any configuration."""


def read(path: Path) -> tuple[Node, list[Fault]]:
    """Read a whole file; returns its tree and what is wrong with its keys and tags.

    Raises:
        ConfigurationError: it cannot be read, is empty, or is not YAML; one line.
    """
    data = _read(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigurationError(f"{path}:{line}:{column}: not UTF-8; save the file as UTF-8") from None
    return parse(text, str(path))


def _read(path: Path) -> bytes:
    """Return the bytes of a file or a pipe. A device has no end, and opening one may do something."""
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISDIR(kind)):
            raise ConfigurationError(f"{path}: not a file; name the configuration file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"{path}: has more than {_MOST_BYTES} bytes; is it the configuration file?")
    return data


def parse(text: str, label: str) -> tuple[Node, list[Fault]]:
    """Return a whole document as a tree whose top is a mapping, and what is wrong with its keys and tags.

    Args:
        text: YAML.
        label: what stands before line and column in errors.

    Raises:
        ConfigurationError: the first error of syntax; nothing can be said beyond it.
    """
    node, faults = _parse(text, label, None)
    if not isinstance(node.value, dict):
        raise ConfigurationError(f"{node.origin.label}: the file should be a mapping such as `sinks: ...`")
    return node, faults


def parse_value(text: str, variable: str) -> Node:
    """Return the value of an environment variable: a JSON or YAML list or mapping, a quoted string, or a plain scalar."""
    origin = Origin(variable)
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] in ("[]", "{}") or (stripped[:1] + stripped[-1:] in ('""', "''") and len(stripped) > 1):
        # what is not YAML may be meant as it stands; if a list is wanted there, validation says so
        with suppress(ConfigurationError):
            node, faults = _parse(stripped, variable, origin)
            if not faults:
                node.key, node.text = origin, text
                return node
        return Node(text, origin, origin)
    value = scalar(stripped)
    if isinstance(value, str):
        return Node(text, origin, origin)
    return Node(value, origin, origin, text)


def _parse(text: str, label: str, origin: Origin | None) -> tuple[Node, list[Fault]]:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        try:
            top = loader.get_single_node()
        finally:
            loader.dispose()
    except _TooManyNodes as error:
        at = f"{label}:{error.problem_mark.line + 1}" if error.problem_mark is not None else label
        raise ConfigurationError(f"{at}: more than {_MOST_NODES} keys and values; is it the configuration file?") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigurationError(_syntax(error, label)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise ConfigurationError(
            f"{label}:{line}:{column}: a character that YAML does not allow: #x{ord(text[error.position]):04x}"
        ) from None
    except RecursionError:
        mark = loader.get_mark() if loader is not None else None
        at = f"{label}:{mark.line + 1}:{mark.column + 1}" if mark is not None and origin is None else label
        raise ConfigurationError(f"{at}: nested too deeply") from None
    if top is None:
        at = label if origin is not None else f"{label}:1:1"
        raise ConfigurationError(f"{at}: is empty; at least one source and one sink are needed")
    builder = _Builder(label, origin)
    return builder.build(top, None, ()), builder.faults


def _syntax(error: yaml.MarkedYAMLError, label: str) -> str:
    mark = error.problem_mark or error.context_mark
    at = f"{label}:{mark.line + 1}:{mark.column + 1}" if mark else label
    problem = error.problem or error.context or "not readable"
    if "'\\t'" in problem:
        problem = "a tab; indent with spaces"
    elif "another document" in problem:
        problem = "a second document begins here; a configuration is one"
    elif problem.startswith("expected <block end>"):
        problem = f"does not fit in here; is it indented as its neighbours are{_begun(error, mark)}?"
    elif error.context and error.problem:
        problem = f"{problem} ({error.context}{_begun(error, mark)})"
    return f"{at}: not YAML: {problem}"


def _begun(error: yaml.MarkedYAMLError, mark: Any) -> str:
    """Say where the construct begins that fails at the mark: a quote that is never closed is seen at the end of the file."""
    begin = error.context_mark
    return f", begun in line {begin.line + 1}" if begin is not None and mark is not None and begin.line != mark.line else ""


class _Builder:
    """Makes our tree of YAML's nodes and gathers what is wrong with them."""

    _MOST_DEPTH = 64

    def __init__(self, label: str, origin: Origin | None) -> None:
        self._label = label
        self._origin = origin
        self._built = 0
        self.faults: list[Fault] = []

    def fault(self, mark: Any, reason: str) -> None:
        self.faults.append((self._at(mark), reason))

    def build(self, node: yaml.Node, key: Origin | None, open_nodes: tuple[yaml.Node, ...], path: str = "") -> Node:
        origin = self._at(node.start_mark)
        self._built += 1
        if node in open_nodes:
            self.fault(node.start_mark, "an alias that leads back to itself")
            return Node(None, origin, key)
        if self._built > _MOST_NODES:
            if self._built == _MOST_NODES + 1:
                self.fault(node.start_mark, f"more than {_MOST_NODES} values, most of them by aliases")
            return Node(None, origin, key)
        if len(open_nodes) >= self._MOST_DEPTH:
            self.fault(node.start_mark, "nested too deeply")
            return Node(None, origin, key)
        inside = (*open_nodes, node)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, inside, path), origin, key)
        if isinstance(node, yaml.SequenceNode):
            items = [self.build(item, None, inside, f"{path}[{index}]") for index, item in enumerate(node.value)]
            return Node(items, origin, key)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, origin, key)

    def _at(self, mark: Any) -> Origin:
        return self._origin or Origin(f"{self._label}:{mark.line + 1}:{mark.column + 1}", mark.line + 1, mark.column + 1)

    def _scalar(self, node: yaml.ScalarNode, origin: Origin, key: Origin | None) -> Node:
        text = self._whole(node)
        tag = node.tag.removeprefix(_TAG)
        # a plain scalar has no style; quotes and blocks mean text
        if node.style is None and tag == "str":
            value = scalar(text)
            return Node(value, origin, key, None if isinstance(value, str) else text)
        if tag in ("int", "float", "bool", "null"):
            return Node(scalar(text), origin, key, text)
        if tag != "str":
            self.fault(node.start_mark, f"the tag {node.tag} is not known here")
        return Node(text, origin, key)

    def _whole(self, node: yaml.ScalarNode) -> str:
        """Return the text with the pairs joined that JSON writes for characters such as emoji."""
        text: str = node.value
        if not _SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.fault(node.start_mark, "half a surrogate pair is not a character")
            return _SURROGATE.sub("?", text)

    def _mapping(self, node: yaml.MappingNode, inside: tuple[yaml.Node, ...], path: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.fault(key_node.start_mark, "a key should be a text")
                continue
            key = self._whole(key_node)
            if key == "<<" and key_node.style is None:
                self._merge(value_node, merged, inside, path)
                continue
            inner = f"{path}.{key}".removeprefix(".")
            if key in entries:
                first = entries[key].key
                self.fault(key_node.start_mark, f"{inner}: is here a second time; the first is at {first.label if first else '?'}")
                continue
            entries[key] = self.build(value_node, self._at(key_node.start_mark), inside, inner)
        return merged | entries

    def _merge(self, node: yaml.Node, merged: dict[str, Node], inside: tuple[yaml.Node, ...], path: str) -> None:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                self.fault(source.start_mark, "`<<` takes a mapping or a list of mappings")
                continue
            values = self.build(source, None, inside, path).value
            for key, value in values.items() if isinstance(values, Mapping) else ():
                merged.setdefault(key, value)
