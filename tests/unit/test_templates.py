"""The syntax of templates: what each placeholder renders, what is refused and why, and what is cached."""

from __future__ import annotations

import tracemalloc

import pytest
from pydantic import ValidationError

from edgerouter import Message, MessageTemplate, Properties, SinkConfig, SinkContext, TemplateText
from edgerouter.templates import MESSAGE_FIELDS, Placeholder, parse, topic_decides, topic_text, user_property

NAMES = SinkContext(name="archive", host="gateway-7", spool="0a1b")
EVERY_FIELD = (*MESSAGE_FIELDS, "time", "first", "attribute", "payload")


def message(topic: str = "plant/line1/temperature", spool: str = "", **user: str) -> Message:
    return Message(topic, b"x", 1, properties=Properties(user=tuple(user.items())), spool=spool)


def text(template: str, of: Message | None = None) -> str:
    return MessageTemplate(template, NAMES).of(of or message(site="north"))


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("", ""),
        ("fixed", "fixed"),
        ("{topic}", "plant/line1/temperature"),
        ("{topic[0]}", "plant"),
        ("{topic[-1]}", "temperature"),
        ("{topic[-3]}", "plant"),
        ("{topic[3]}", ""),
        ("{topic[-4]}", ""),
        ("{topic[1:]}", "line1/temperature"),
        ("{topic[:-1]}", "plant/line1"),
        ("{topic[1:2]}", "line1"),
        ("{topic[:]}", "plant/line1/temperature"),
        ("{topic[7:]}", ""),
        ("{topic[2:1]}", ""),
        ("{property[site]}", "north"),
        ("{property[none]}", ""),
        ("{host}-{sink}-{spool}", "gateway-7-archive-0a1b"),
        ("{{{sink}}}", "{archive}"),
        ("a{{topic}}b", "a{topic}b"),
        ("sites/{host}/{topic[1:]}!", "sites/gateway-7/line1/temperature!"),
    ],
)
def test_a_template_renders_its_placeholders(template: str, rendered: str) -> None:
    assert text(template) == rendered


@pytest.mark.parametrize(
    ("topic", "template", "rendered"),
    [
        ("/a/", "{topic[0]}|{topic[1]}|{topic[2]}", "|a|"),
        ("/a/", "{topic[1:]}", "a/"),
        ("", "{topic}|{topic[0]}|{topic[1:]}", "||"),
        ("{sink}/{host}", "{topic}", "{sink}/{host}"),
    ],
)
def test_a_topic_is_taken_as_it_stands(topic: str, template: str, rendered: str) -> None:
    """Empty levels count, and braces that a device sends mean nothing."""
    assert text(template, message(topic)) == rendered


def test_the_first_user_property_of_a_name_counts() -> None:
    twice = Message("t", b"", 1, properties=Properties(user=(("site", "north"), ("site", "south"))))

    assert user_property("site")(twice) == "north"
    assert user_property("site")(Message("t", b"", 1)) == "", "a message of MQTT 3.1.1 has no properties"


def test_the_spool_is_the_one_that_stored_the_message() -> None:
    assert text("{spool}", message(spool="earlier")) == "earlier"
    assert text("{spool}", message()) == "0a1b", "that of the sink, where the message is not stored yet"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{topik}", r"unknown placeholder \{topik\}; did you mean \{topic\}\?"),
        ("{zzz}", r"unknown placeholder \{zzz\}; known are \{topic\}, \{property\[name\]\}, \{host\}, \{sink\}"),
        ("{}", r"unknown placeholder \{\}"),
        ("{topic", "has a single '{'; write '{{'"),
        ("topic}", "has a single '}'; write '}}'"),
        ("{a{b}", "has a single '{'"),
        ("{topic[a]}", r"\{topic\[a\]\}: a level is a number as in \{topic\[0\]\}"),
        ("{topic[]}", "a level is a number"),
        ("{topic[1:2:3]}", "a level is a number"),
        ("{topic[0]x}", "unknown placeholder"),
        ("{host[0]}", r"\{host\[0\]\}: host takes nothing in brackets"),
        ("{topic:x}", r"\{topic:x\}: topic takes no format"),
        ("{property}", r"write the name of the user property in brackets, as in \{property\[device\]\}"),
        ("{property[]}", "write the name of the user property"),
        ("{attribute}", r"write the name of the attribute in brackets, as in \{attribute\[device\]\}"),
        ("{payload[]}", r"as in \{payload\[a\.b\]\}"),
    ],
)
def test_a_wrong_template_is_refused_with_the_placeholder_and_the_reason(template: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(template, EVERY_FIELD)


def test_a_target_knows_only_its_own_fields() -> None:
    assert parse("{payload}", EVERY_FIELD)
    with pytest.raises(ValueError, match=r"unknown placeholder \{payload\}"):
        MessageTemplate("{payload}", NAMES)


def test_a_template_is_split_into_literals_and_placeholders() -> None:
    assert parse("a{{{time:%H:%M}{payload[b.c]}}}d", EVERY_FIELD) == [
        "a{",
        Placeholder("time:%H:%M", 3, "time", None, "%H:%M"),
        Placeholder("payload[b.c]", 15, "payload", "b.c", None),
        "}d",
    ]


@pytest.mark.parametrize(
    ("template", "escaped"),
    [("{topic}", "<a/b/c>"), ("{topic[0]}", "(a)"), ("{topic[9]}", "()"), ("{topic[1:]}", "<b/c>"), ("{topic[9:]}", "")],
)
def test_a_target_escapes_one_level_and_several_in_its_own_way(template: str, escaped: str) -> None:
    (placeholder,) = parse(template, MESSAGE_FIELDS)
    assert isinstance(placeholder, Placeholder)

    assert topic_text(placeholder, one="({})".format, several="<{}>".format)("a/b/c") == escaped


@pytest.mark.parametrize(
    ("template", "decides"),
    [("fixed", True), ("{host}/{topic[1:]}-{sink}", True), ("{topic}{property[a]}", False), ("{spool}", False), ("{time}", False)],
)
def test_the_topic_decides_unless_a_message_has_a_say(template: str, decides: bool) -> None:
    assert topic_decides(parse(template, EVERY_FIELD)) is decides


def test_the_text_of_a_topic_is_finished_once() -> None:
    finished: list[str] = []

    def finish(rendered: str) -> str:
        finished.append(rendered)
        return rendered.upper()

    template = MessageTemplate("{topic[0]}", NAMES, finish)

    assert [template.of(message("a/b")), template.of(message("a/b")), template.of(message("c"))] == ["A", "A", "C"]
    assert finished == ["a", "c"]


def test_what_finish_refuses_is_refused_each_time() -> None:
    template = MessageTemplate("{topic}", NAMES, int)  # type: ignore[arg-type]  # raises ValueError
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            template.of(message("a"))


def test_long_topics_are_not_remembered() -> None:
    template = MessageTemplate("{topic}", NAMES)
    tracemalloc.start()
    for number in range(300):
        assert len(template.of(message(f"{number}{'x' * 60_000}"))) > 60_000
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 1024**2


def test_a_configuration_field_refuses_a_wrong_template_and_is_named() -> None:
    class Config(SinkConfig):
        group: TemplateText
        """Group."""

    assert Config(group="{topic[1]}").group == "{topic[1]}"
    with pytest.raises(ValidationError, match=r"(?s)group.*did you mean \{topic\}"):
        Config(group="{topik}")
