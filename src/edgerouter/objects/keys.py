"""Object keys from a template: safe for every topic, the same at every retry, and cheap to group messages by."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from typing import Annotated
from zlib import crc32

from pydantic import AfterValidator

from edgerouter.message import Message
from edgerouter.objects.compression import Compression, infer_compression
from edgerouter.objects.paths import MAX_KEY_BYTES, escape, fit, topic_path
from edgerouter.objects.times import TimeFormat
from edgerouter.sink import SinkContext
from edgerouter.topic_cache import TopicCache

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER = re.compile(r"([A-Za-z_]+)(?:\[([^\]]*)\])?(?::(.*))?", re.DOTALL)
_INDEX = re.compile(r"-?\d+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_NAMES = ("topic", "time", "id", "first", "last", "sequence", "spool", "sink", "host", "property", "qos", "retained")
_NUMBERS = ("first", "last", "sequence")
_DEFAULT_TIME = "%Y%m%dT%H%M%SZ"
_LONGEST_PARTITION = 1024
"""Characters; a longer one becomes a digest, because batches that fill at the same time are kept by it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One piece of a template."""

    render: Callable[[Sequence[Message], SinkContext], str]
    message: Callable[[Message], str] | None = None
    """Renders the piece for one message, when it differs from message to message and an object holds only one value of it."""
    topic: Callable[[str], str] | None = None
    """Renders the piece for one topic, when it depends on nothing else."""


class KeyTemplate:
    """A parsed key template such as `{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz`.

    Every key is relative, has no empty, `.` or `..` part, no control character, no backslash, at most 255 bytes a part and
    1024 bytes in all, whatever a message holds; what is not safe is percent-encoded. Two topics never share a name.
    """

    def __init__(self, text: str, parts: Sequence[_Part], suffix: str) -> None:
        self.text = text
        self.compression: Compression = infer_compression(text)
        """What the template's last characters say."""
        self._parts = tuple(parts)
        self._suffix = suffix
        self._topic_parts = tuple(part.topic for part in parts if part.topic is not None)
        self._other_parts = tuple(part.message for part in parts if part.message is not None)
        self._topic_partitions = TopicCache(self._topic_partition)

    def __repr__(self) -> str:
        return f"KeyTemplate({self.text!r})"

    @classmethod
    def parse(cls, text: str, *, unique: bool = True) -> KeyTemplate:
        """Read a template.

        Placeholders: `{topic}` (its levels as path), `{topic[0]}`, `{topic[-1]}`, `{topic[1:]}`, `{time:%Y/%m/%d/%H}` (strftime,
        UTC, when the message was received; of a batch the first one; `unknown-time` when that was before 2020, the clock being
        unset), `{id}` (the message's id; `<spool>-<first>-<last>` of several, and a checksum of their numbers where some between
        the first and the last are missing), `{first}`, `{last}`, `{sequence}` (the same as first; `{first:12}` fills up with zeros
        to 12 digits), `{spool}`, `{sink}`, `{host}`, `{property[name]}` (a user property of MQTT 5, empty when missing), `{qos}`,
        `{retained}`. `{{` and `}}` are braces. An empty part becomes `%FF`.

        A time in a folder splits batches: all messages of an object fall into that folder. A time in the file name is that of the
        first message and splits nothing.

        Args:
            text: the template.
            unique: two batches must never get one key; False where they may, as for an object that grows, or a partition key.

        Raises:
            ValueError: what is wrong with the template, with the nearest known name.
        """
        return cls(text, *_parse(text, unique=unique))

    def partition_of(self, message: Message, names: SinkContext) -> str:  # noqa: ARG002  (same shape as key_of; names do not differ by message)
        """What all messages of one object have in common; equal for two messages when they may share an object."""
        partition = ""
        if self._topic_parts:
            partition = self._topic_partitions[message.topic]
        for part in self._other_parts:
            partition += "\n" + part(message)  # no part holds a line break
        return partition if len(partition) <= _LONGEST_PARTITION else _digest(partition)

    def key_of(self, batch: Sequence[Message], names: SinkContext) -> str:
        """The key of the object that holds `batch`; the same for the same batch."""
        return fit("".join([part.render(batch, names) for part in self._parts]), self._suffix)

    def _topic_partition(self, topic: str) -> str:
        return "\n".join([part(topic) for part in self._topic_parts])


def _digest(partition: str) -> str:
    return "\0" + sha256(partition.encode()).hexdigest()  # no part holds a NUL


def _checked(text: str) -> str:
    KeyTemplate.parse(text)
    return text


ObjectKey = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a key template."""


def _parse(text: str, *, unique: bool) -> tuple[list[_Part], str]:
    parts: list[_Part] = []
    shape = ""  # the template with `x` for each placeholder: what its folders look like
    names: set[str] = set()
    suffix = ""
    end = 0
    last_slash = text.rfind("/")
    for match in _TOKEN.finditer(text):
        literal = text[end : match.start()]
        end = match.end()
        if match[0] in ("{", "}"):
            raise ValueError(f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a brace that is not a placeholder")
        if match[1] is None:
            literal += match[0][0]
        if literal:
            parts.append(_constant(literal))
            shape += literal
            suffix += literal
        if match[1] is not None:
            name, part = _placeholder(match[1], in_folder=match.start() < last_slash)
            names.add(name)
            parts.append(part)
            shape += "x"
            suffix = ""
    if text[end:]:
        parts.append(_constant(text[end:]))
        shape += text[end:]
        suffix += text[end:]
    _check(text, shape)
    if unique:
        _check_unique(text, names)
    suffix = suffix.rpartition("/")[2]
    return parts, suffix[suffix.find(".") :][-32:] if "." in suffix else ""


def _check(text: str, shape: str) -> None:
    if _CONTROL.search(shape):
        raise ValueError(f"{text!r} holds a control character or a backslash")
    if any(part in ("", ".", "..") for part in shape.split("/")):
        raise ValueError(f"{text!r} is not a relative path: a part between slashes is empty, '.' or '..'")
    if len(shape.encode()) > MAX_KEY_BYTES // 2:
        raise ValueError(f"the key template is longer than {MAX_KEY_BYTES // 2} bytes")


def _check_unique(text: str, names: set[str]) -> None:
    if "id" not in names:
        # the first and the last number are not enough: a replay of some of the messages would replace the object of all
        raise ValueError(f"{text!r} would give two batches the same key, and the second would replace the first; add {{id}}")


def _constant(text: str) -> _Part:
    return _Part(lambda _batch, _names: text)


def _placeholder(text: str, *, in_folder: bool) -> tuple[str, _Part]:
    match = _PLACEHOLDER.fullmatch(text)
    name = match[1] if match else text
    if match is None or name not in _NAMES:
        near = get_close_matches(name, _NAMES, 1)
        hint = f"did you mean {{{near[0]}}}?" if near else "known are " + ", ".join(f"{{{known}}}" for known in _NAMES)
        raise ValueError(f"unknown placeholder {{{text}}}; {hint}")
    argument, spec = match[2], match[3]
    if argument is not None and name not in ("topic", "property"):
        raise ValueError(f"{{{text}}}: {name} takes nothing in brackets")
    if spec is not None and name not in ("time", *_NUMBERS):
        raise ValueError(f"{{{text}}}: {name} takes no format")
    if name == "topic":
        return name, _by_topic(_topic(text, argument))
    if name == "time":
        return name, _time(spec, in_folder=in_folder)
    if name == "property":
        return name, _by_message(_property(text, argument))
    if name in _NUMBERS:
        return name, _number(text, name, spec)
    return name, _SIMPLE[name]


def _by_message(render: Callable[[Message], str]) -> _Part:
    return _Part(lambda batch, _names: render(batch[0]), message=render)


def _by_topic(render: Callable[[str], str]) -> _Part:
    return _Part(lambda batch, _names: render(batch[0].topic), topic=render)


def _topic(text: str, argument: str | None) -> Callable[[str], str]:
    if argument is None:
        return topic_path
    if _INDEX.fullmatch(argument):
        index = int(argument)

        def level(topic: str) -> str:
            levels = topic.split("/")
            return escape(levels[index]) if -len(levels) <= index < len(levels) else ""

        return level
    if match := _SLICE.fullmatch(argument):
        part = slice(*(int(bound) if bound else None for bound in match.groups()))

        def levels(topic: str) -> str:
            kept = topic.split("/")[part]
            return topic_path("/".join(kept)) if kept else ""

        return levels
    raise ValueError(f"{{{text}}}: a level is a number as in {{topic[0]}} or {{topic[-1]}}, or a range as in {{topic[1:]}}")


def _time(spec: str | None, *, in_folder: bool) -> _Part:
    time = TimeFormat(spec or _DEFAULT_TIME)
    if _CONTROL.search(spec or ""):
        raise ValueError("the format of {time} holds a control character or a backslash")
    if any(part in ("", ".", "..") for part in (spec or "x").strip("/").split("/")):
        raise ValueError("the format of {time} has an empty part, '.' or '..' between slashes")
    if in_folder:
        return _by_message(lambda message: time.render(message.received_at))
    return _Part(lambda batch, _names: time.render(batch[0].received_at))


def _property(text: str, argument: str | None) -> Callable[[Message], str]:
    if not argument:
        raise ValueError(f"{{{text}}}: write the name of the user property in brackets, as in {{property[device]}}")

    def value(message: Message) -> str:
        if message.properties is not None:
            for name, content in message.properties.user:
                if name == argument:
                    return escape(content)
        return ""

    return value


def _number(text: str, name: str, spec: str | None) -> _Part:
    if spec is not None and not (spec.isdecimal() and spec.isascii() and 0 < int(spec) <= 20):
        raise ValueError(f"{{{text}}}: the format is a number of digits from 1 to 20, as in {{{name}:12}}")
    width = int(spec or 0)
    index = -1 if name == "last" else 0
    return _Part(lambda batch, _names: f"{batch[index].sequence:0{width}d}")


def _id(batch: Sequence[Message], names: SinkContext) -> str:
    spool = escape(batch[0].spool or names.spool)
    first, last = batch[0].sequence, batch[-1].sequence
    if len(batch) == 1:
        return f"{spool}-{first}"
    sequences = [message.sequence for message in batch]
    if last - first == len(batch) - 1 and sequences == list(range(first, last + 1)):  # a range may be far longer than a batch
        return f"{spool}-{first}-{last}"
    # a later replay by topic, or after a change of the filters, may begin and end with the same messages and hold others between
    return f"{spool}-{first}-{last}-{crc32(array('Q', sequences).tobytes()):08x}"


_SIMPLE = {
    "id": _Part(_id),
    "spool": _Part(lambda batch, names: escape(batch[0].spool or names.spool)),
    "sink": _Part(lambda _batch, names: escape(names.name)),
    "host": _Part(lambda _batch, names: escape(names.host)),
    "qos": _by_message(lambda message: str(message.qos)),
    "retained": _by_message(lambda message: "true" if message.retained else "false"),
}
