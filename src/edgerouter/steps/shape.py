"""Steps that change what surrounds a document: `topic`, `tags`, `envelope` and `split`."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from edgerouter.errors import BadInput
from edgerouter.item import UNREAD, Item
from edgerouter.message import Message, Properties
from edgerouter.step import Step, StepConfig, StepContext
from edgerouter.steps.paths import MISSING, FieldPath, getter, kind_of, parse_path, put
from edgerouter.templates import MessageTemplate, TemplateText
from edgerouter.topic_cache import TopicCache
from edgerouter.topics import check_name

MOST_PARTS: Final = 10_000
"""Most parts of one message."""


class TopicConfig(StepConfig):
    """Gives messages another topic."""

    topic: TemplateText = Field(examples=["north/{topic}"])
    """A template (docs/reference/templates.md) such as `site7/{topic[1:]}`."""


class TopicStep(Step[TopicConfig]):
    """Fills the template, once for each topic."""

    def __init__(self, config: TopicConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._template = MessageTemplate(config.topic, context, check_name)

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._renamed)

    def _renamed(self, item: Item) -> bool:
        try:
            topic = self._template.of(item.message)
        except ValueError as error:
            raise BadInput("out of range", str(error)[:200]) from error
        item.message = msgspec.structs.replace(item.message, topic=topic)
        return True


class TagsConfig(StepConfig):
    """Adds members to a JSON object, from constants and templates."""

    tags: dict[FieldPath, TemplateText] = Field(min_length=1, max_length=1000, examples=[{"plant": "north", "line": "{topic[1]}"}])
    """Text of each member by its path, a template (docs/reference/templates.md): `site: north`, `device: "{topic[1]}"`,
    `host: "{host}"`."""


class TagsStep(Step[TagsConfig]):
    """Puts the texts into a copy of the document."""

    reads = True

    def __init__(self, config: TagsConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._tags = [(parse_path(text), MessageTemplate(value, context)) for text, value in config.tags.items()]

    def apply(self, items: list[Item]) -> list[Item]:
        return self.each(items, self._tagged)

    def _tagged(self, item: Item) -> bool:
        document = item.document
        if document.__class__ is not dict:
            raise BadInput("wrong type", f"the payload is {kind_of(document)}, not an object")
        for path, template in self._tags:
            document = put(document, path, template.of(item.message))
        item.becomes(document)
        return True


class EnvelopeConfig(StepConfig):
    """Wraps the payload together with what is known of the message."""

    format: Literal["json", "cloudevents"] = "json"
    """`json` has `topic`, `time`, `id` and `payload`; `cloudevents` is a structured CloudEvent 1.0 in JSON. A payload that is not
    JSON becomes a text, or base64 where it is not UTF-8."""
    source: TemplateText = Field(default="/edgerouter/{host}", examples=["/plant/{host}"])
    """Of a CloudEvent: a template."""
    event_type: TemplateText = Field(default="io.edgerouter.message", examples=["com.plant.reading"])
    """Of a CloudEvent: its `type`, a template."""


class EnvelopeStep(Step[EnvelopeConfig]):
    """Writes the JSON text around the payload, which is not decoded."""

    def __init__(self, config: EnvelopeConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._source = MessageTemplate(config.source, context, _quoted)
        self._type = MessageTemplate(config.event_type, context, _quoted)
        self._subjects: TopicCache[str, str] = TopicCache(_quoted)
        self._heads: TopicCache[str, str] = TopicCache(lambda topic: f'{{"topic":{_quoted(topic)},"time":"')
        self._names = _NAMES[config.format]

    def apply(self, items: list[Item]) -> list[Item]:
        # one loop without calls: a call for each message costs as much as its topic and its time
        heads = self._heads if self.config.format == "json" else None
        as_json, digits, check, refuse = self._names[0], _DIGITS, _check, self.context.refuse
        out, begin, stamp = [], _NEVER, ""  # of the second that was formatted last
        spool, before_id = None, ""
        for item in items:
            message, known = item.message, item.read
            now = message.received_at
            past = now - begin
            if not 0 <= past < _SECOND:
                past = now % _SECOND
                begin = now - past
                stamp = datetime.fromtimestamp(begin // _SECOND, UTC).isoformat()[:19] + "."
            past //= 1000
            if message.spool is not spool:
                spool = message.spool
                before_id = f'Z","id":"{spool}-'
            try:
                try:
                    payload = message.payload if known is UNREAD else item.payload
                    if known is UNREAD or item.changed or known.__class__ is BadInput:
                        check(payload)
                    # else an earlier step has decoded it
                    name, text = as_json, payload.decode()
                except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
                    name, text = self._other(payload)
                head = heads[message.topic] if heads is not None else self._event(message)
                thousands, rest = digits[past // 1000], digits[past % 1000]
                whole = f'{head}{stamp}{thousands}{rest}{before_id}{message.sequence}{message.part}",{name}{text}}}'
                item.message = _replace(message, payload=whole.encode())
            except BadInput as error:
                if refuse(item, error):
                    out.append(item)
            except (ValueError, TypeError, RecursionError) as error:
                if refuse(item, BadInput("wrong type", str(error)[:200])):
                    out.append(item)
            else:
                item.read, item.changed = UNREAD, False
                out.append(item)
        return out

    def _other(self, payload: bytes) -> tuple[str, str]:
        """Return the name and the JSON text of a payload that is not strict JSON."""
        try:
            return self._names[0], _quoted(payload.decode())
        except UnicodeDecodeError:
            return self._names[1], f'"{base64.b64encode(payload).decode()}"'

    def _event(self, message: Message) -> str:
        """Return the beginning of a CloudEvent, up to its time."""
        source, kind, subject = self._source.of(message), self._type.of(message), self._subjects[message.topic]
        return f'{{"specversion":"1.0","source":{source},"type":{kind},"subject":{subject},"time":"'


_NAMES: Final = {
    "json": ('"payload":', '"payload_base64":'),
    "cloudevents": ('"datacontenttype":"application/json","data":', '"datacontenttype":"application/octet-stream","data_base64":'),
}
"""Beginning of the member that holds the payload, as JSON and as base64."""
_DIGITS: Final = tuple([f"{number:03d}" for number in range(1000)])
_SECOND: Final = 1_000_000_000
_NEVER: Final = 2**63

_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode
_check = msgspec.json.Decoder(msgspec.Raw).decode


def _quoted(text: str) -> str:
    return _encode(text).decode()


class SplitConfig(StepConfig):
    """Makes a message of each element of a list; the parts have `.1`, `.2` behind the id."""

    field: FieldPath | None = Field(default=None, examples=["readings"])
    """Path of the list; without it the payload is the list."""
    keep: tuple[FieldPath, ...] = Field(default=(), max_length=100, examples=[["device"]])
    """Members outside the list that every part gets; the elements are objects then."""


class SplitStep(Step[SplitConfig]):
    """Splits lists; an empty one is filtered."""

    reads = True
    splits = True

    def __init__(self, config: SplitConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._read = getter(parse_path(config.field)) if config.field is not None else None
        self._keep = [(parse_path(text), getter(parse_path(text))) for text in config.keep]

    def apply(self, items: list[Item]) -> list[Item]:
        out = []
        for item in items:
            try:
                parts = self._parts(item.document)
            except BadInput as error:
                if self.context.refuse(item, error):
                    out.append(item)
                continue
            if parts:
                out += item.parts(parts)
        return out

    def _parts(self, document: Any) -> list[Any]:
        found = document if self._read is None else self._read(document)
        if found is MISSING:
            raise BadInput("missing field", self.config.field or "")
        if not isinstance(found, list):
            raise BadInput("wrong type", f"{kind_of(found)} cannot be split")
        if len(found) > MOST_PARTS:
            raise BadInput("too large", f"a list of {len(found)} elements, {MOST_PARTS} are allowed")
        kept = [(path, value) for path, read in self._keep if (value := read(document)) is not MISSING]
        return [_with(each, kept) for each in found] if kept else found


def _with(part: Any, kept: list[tuple[tuple[str, ...], Any]]) -> Any:
    for path, value in kept:
        part = put(part, path, value)
    return part


class UserPropertiesConfig(StepConfig):
    """Adds MQTT user properties, from constants and templates."""

    properties: dict[str, TemplateText] = Field(min_length=1, max_length=100, examples=[{"plant": "north"}])
    """Value of each property by its name, a template (docs/reference/templates.md)."""


class UserPropertiesStep(Step[UserPropertiesConfig]):
    """Puts the properties behind those that are there."""

    def __init__(self, config: UserPropertiesConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._properties = [(name, MessageTemplate(text, context)) for name, text in config.properties.items()]

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            message = item.message
            properties = message.properties or Properties()
            user = (*properties.user, *((name, template.of(message)) for name, template in self._properties))
            item.message = msgspec.structs.replace(message, properties=msgspec.structs.replace(properties, user=user))
        return items
