"""Builds object keys from a template: safe for every topic, identical at every retry, and cheap to group messages by."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated
from zlib import crc32

from pydantic import AfterValidator

from edgerouter.message import Message
from edgerouter.objects.compression import Compression, infer_compression
from edgerouter.objects.paths import MAX_KEY_BYTES, escape, fit, topic_path
from edgerouter.objects.times import TimeFormat
from edgerouter.sink import SinkContext
from edgerouter.templates import Part, Placeholder, parse, topic_decides, topic_text, user_property
from edgerouter.topic_cache import TopicCache

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_FIELDS = ("topic", "time", "id", "first", "last", "sequence", "spool", "sink", "host", "property", "qos", "retained")
_DEFAULT_TIME = "%Y%m%dT%H%M%SZ"
_LONGEST_PARTITION = 1024
"""Characters of a partition; a longer one becomes a digest, because it is the key of every batch that is filling."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Renders one part of a template."""

    render: Callable[[Sequence[Message], SinkContext], str]
    message: Callable[[Message], str] | None = None
    """Renders the piece for one message, if it differs between messages and an object holds only one value of it."""
    topic: Callable[[str], str] | None = None
    """Renders the piece for one topic, if it depends only on the topic."""


class KeyTemplate:
    """A parsed key template such as `{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz`.

    Every key is relative, has no empty, `.` or `..` part, no control character, no backslash, at most 255 bytes a part and
    1024 bytes in all, for any message; unsafe characters are percent-encoded. Two topics never share a name.
    """

    def __init__(self, text: str, parts: Sequence[Part]) -> None:
        self.text = text
        self.fields = frozenset(part.name for part in parts if isinstance(part, Placeholder))
        """Names of the placeholders."""
        self.topic_decides = topic_decides(parts)
        """True if all messages of a topic have one key."""
        self.compression: Compression = infer_compression(text)
        """Compression for the extension of the template."""
        last_slash = text.rfind("/")
        self._pieces = [_piece(part, last_slash) for part in parts]
        self._suffix = _suffix(parts)
        self._topic_pieces = [piece.topic for piece in self._pieces if piece.topic is not None]
        self._other_pieces = [piece.message for piece in self._pieces if piece.message is not None]
        self._topic_partitions = TopicCache(self._topic_partition)

    def __repr__(self) -> str:
        return f"KeyTemplate({self.text!r})"

    @classmethod
    def parse(cls, text: str, *, unique: bool = True) -> KeyTemplate:
        """Parse a template.

        Placeholders: `{topic}` and its levels, `{time:%Y/%m/%d}`, `{id}`, `{first}`, `{last}`, `{sequence}`, `{spool}`, `{sink}`,
        `{host}`, `{property[name]}`, `{qos}`, `{retained}`; docs/reference/templates.md explains each.

        A time in a folder splits batches: all messages of an object fall into that folder. A time in the file name is that of the
        first message and does not split batches.

        Args:
            text: the template.
            unique: two batches must never get the same key; False where they may, as for a growing object or a partition key.

        Raises:
            ValueError: the template is invalid, with the reason and the nearest known name.
        """
        parts = parse(text, _FIELDS)
        _check_path(text, "".join([part if isinstance(part, str) else "x" for part in parts]))
        template = cls(text, parts)
        if unique and "id" not in template.fields:
            # first and last number are not enough: a replay of some of the messages would replace the object of all
            raise ValueError(f"{text!r} would give two batches the same key, and the second would replace the first; add {{id}}")
        return template

    def partition_of(self, message: Message, names: SinkContext) -> str:  # noqa: ARG002  (same shape as key_of; names do not differ by message)
        """Return the part of the key that all messages of one object share; equal for two messages that may share an object."""
        partition = ""
        if self._topic_pieces:
            partition = self._topic_partitions[message.topic]
        for piece in self._other_pieces:
            partition += "\n" + piece(message)  # a piece never holds a line break
        return partition if len(partition) <= _LONGEST_PARTITION else _digest(partition)

    def key_of(self, batch: Sequence[Message], names: SinkContext) -> str:
        """Return the key of the object that holds `batch`; equal batches get equal keys."""
        return fit("".join([piece.render(batch, names) for piece in self._pieces]), self._suffix)

    def _topic_partition(self, topic: str) -> str:
        return "\n".join([piece(topic) for piece in self._topic_pieces])


def _digest(partition: str) -> str:
    return "\0" + sha256(partition.encode()).hexdigest()  # a piece never holds a NUL


def _checked(text: str) -> str:
    KeyTemplate.parse(text)
    return text


ObjectKey = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a key template."""


def _suffix(parts: Sequence[Part]) -> str:
    """Return the constant end of a template from its first dot, such as `.jsonl.gz`."""
    end = parts[-1].rpartition("/")[2] if parts and isinstance(parts[-1], str) else ""
    return end[end.find(".") :][-32:] if "." in end else ""


def _check_path(text: str, shape: str) -> None:
    if _CONTROL.search(shape):
        raise ValueError(f"{text!r} holds a control character or a backslash")
    if any(part in ("", ".", "..") for part in shape.split("/")):
        raise ValueError(f"{text!r} is not a relative path: a part between slashes is empty, '.' or '..'")
    if len(shape.encode()) > MAX_KEY_BYTES // 2:
        raise ValueError(f"the key template is longer than {MAX_KEY_BYTES // 2} bytes")


def _piece(part: Part, last_slash: int) -> _Piece:
    if isinstance(part, str):
        return _Piece(lambda _batch, _names: part)
    if part.name == "topic":
        text = topic_text(part, one=escape, several=topic_path)
        return _Piece(lambda batch, _names: text(batch[0].topic), topic=text)
    if part.name == "time":
        return _time(part.format, in_folder=part.start < last_slash)
    if part.name == "property":
        value = user_property(part.argument)
        return _by_message(lambda message: escape(value(message)))
    if part.name in ("first", "last", "sequence"):
        return _number(part)
    return _SIMPLE[part.name]


def _by_message(render: Callable[[Message], str]) -> _Piece:
    return _Piece(lambda batch, _names: render(batch[0]), message=render)


def _time(spec: str | None, *, in_folder: bool) -> _Piece:
    time = TimeFormat(spec or _DEFAULT_TIME)
    if _CONTROL.search(spec or ""):
        raise ValueError("the format of {time} holds a control character or a backslash")
    if any(part in ("", ".", "..") for part in (spec or "x").strip("/").split("/")):
        raise ValueError("the format of {time} has an empty part, '.' or '..' between slashes")
    if in_folder:
        return _by_message(lambda message: time.render(message.received_at))
    return _Piece(lambda batch, _names: time.render(batch[0].received_at))


def _number(part: Placeholder) -> _Piece:
    digits = part.format
    if digits is not None and not (digits.isdecimal() and digits.isascii() and 0 < int(digits) <= 20):
        raise part.wrong(f"the format is a number of digits from 1 to 20, as in {{{part.name}:12}}")
    width = int(digits or 0)
    index = -1 if part.name == "last" else 0
    return _Piece(lambda batch, _names: f"{batch[index].sequence:0{width}d}")


def _id(batch: Sequence[Message], names: SinkContext) -> str:
    spool = escape(batch[0].spool or names.spool)
    first = batch[0]
    # what other steps made of the same messages lies beside it, not over it
    shape = f"-{names.shape}" if names.shape else ""
    if len(batch) == 1:
        return f"{spool}-{first.sequence}{escape(first.part)}{shape}"
    sequences = [message.sequence for message in batch]
    parts = ",".join([message.part for message in batch]) if names.shape else ""
    start, end = sequences[0], sequences[-1]
    # a range may be far longer than a batch
    if end - start == len(batch) - 1 and sequences == list(range(start, end + 1)) and not parts.strip(","):
        return f"{spool}-{start}-{end}{shape}"
    # a later replay by topic, or one after changed filters, may have the same first and last message and others between
    return f"{spool}-{start}-{end}-{crc32(parts.encode(), crc32(array('Q', sequences).tobytes())):08x}{shape}"


_SIMPLE = {
    "id": _Piece(_id),
    "spool": _Piece(lambda batch, names: escape(batch[0].spool or names.spool)),
    "sink": _Piece(lambda _batch, names: escape(names.name)),
    "host": _Piece(lambda _batch, names: escape(names.host)),
    "qos": _by_message(lambda message: str(message.qos)),
    "retained": _by_message(lambda message: "true" if message.retained else "false"),
}
