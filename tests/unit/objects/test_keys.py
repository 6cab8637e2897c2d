"""Object keys: what a template renders, that no topic escapes, and that two topics never share a name.

Covers also: edgerouter.objects.paths, edgerouter.objects.times.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgerouter import Message, Properties, SinkConfig, SinkContext
from edgerouter.objects import KeyTemplate, ObjectKey

NAMES = SinkContext(name="archive", host="gateway-7", spool="0a1b")
NOON = int(datetime(2026, 11, 20, 12, 34, 56, 789000, tzinfo=UTC).timestamp() * 1000) * 10**6


def message(topic: str = "plant/line1/temperature", sequence: int = 5, received_at: int = NOON, **more: object) -> Message:
    return Message(topic, b"x", received_at, spool="0a1b", sequence=sequence, **more)  # type: ignore[arg-type]


def key(template: str, *batch: Message) -> str:
    return KeyTemplate.parse(template).key_of(batch or (message(),), NAMES)


def partition(template: str, of: Message) -> str:
    return KeyTemplate.parse(template).partition_of(of, NAMES)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{topic}/{id}", "plant/line1/temperature/0a1b-5"),
        ("{topic[0]}/{topic[-1]}/{id}.jsonl.gz", "plant/temperature/0a1b-5.jsonl.gz"),
        ("{topic[1:]}/{id}", "line1/temperature/0a1b-5"),
        ("{topic[:-1]}/{id}", "plant/line1/0a1b-5"),
        ("{time:%Y/%m/%d/%H}/{id}", "2026/11/20/12/0a1b-5"),
        ("{time}-{id}", "20261120T123456Z-0a1b-5"),
        ("{time:%H-%M-%S.%f}-{id}", "12-34-56.789000-0a1b-5"),
        ("day={time:%Y%m%d}/{sink}/{host}/{first:6}-{last}/{id}", "day=20261120/archive/gateway-7/000005-5/0a1b-5"),
        ("{qos}{retained}/{spool}.{sequence}-{id}", "0false/0a1b.5-0a1b-5"),
        ("a{{b}}/{id}", "a{b}/0a1b-5"),
    ],
)
def test_a_template_renders_its_placeholders(template: str, rendered: str) -> None:
    assert key(template) == rendered


def test_the_id_of_several_messages_names_the_first_and_the_last() -> None:
    assert key("{id}", *(message(sequence=sequence) for sequence in range(5, 10))) == "0a1b-5-9"


def test_different_messages_between_the_same_ends_make_different_keys() -> None:
    """A replay of one topic, or with other filters, never replaces the object that holds more."""
    batches = ([5, 6, 7, 8, 9], [5, 9], [5, 7, 9], [5, 6, 9], [5, 8, 9], [5, 6, 7, 9])
    keys = {key("{id}", *(message(sequence=sequence) for sequence in batch)) for batch in batches}

    assert len(keys) == len(batches)
    assert key("{id}", message(sequence=5), message(sequence=9)) == "0a1b-5-9-89ad8d68", (
        "the same at every attempt, whatever process makes it"
    )


def test_the_time_of_a_batch_is_that_of_its_first_message() -> None:
    assert key("{time:%H}/{id}", message(), message(sequence=6, received_at=NOON + 3600 * 10**9)) == "12/0a1b-5-6"


def test_a_user_property_is_rendered_and_is_empty_when_missing() -> None:
    with_property = message(properties=Properties(user=(("site", "north/1"), ("site", "second"))))

    assert key("p-{property[site]}/{id}", with_property) == "p-north%2F1/0a1b-5"
    assert key("p-{property[site]}/{id}", message()) == "p-/0a1b-5"
    assert key("{property[site]}/{id}", message()) == "%FF/0a1b-5"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{topics}/{id}", r"unknown placeholder \{topics\}; did you mean \{topic\}\?"),
        ("{}/{id}", "unknown placeholder"),
        ("{topic[x]}/{id}", r"a level is a number"),
        ("{id[0]}", "takes nothing in brackets"),
        ("{qos:2}/{id}", "takes no format"),
        ("{property}/{id}", "name of the user property"),
        ("{time:%Q}/{id}", "does not know '%Q'"),
        ("{spool}-{first:x}", "number of digits"),
        ("{topic/{id}", "single '{'"),
        ("topic}/{id}", "single '}'"),
        ("/{id}", "not a relative path"),
        ("a//{id}", "not a relative path"),
        ("../{id}", "not a relative path"),
        ("{id}/", "not a relative path"),
        ("{time:%Y//%m}/{id}", "empty part"),
        ("a\\{id}", "backslash"),
        ("a\x00{id}", "control character"),
        ("x" * 600 + "{id}", "longer than"),
        ("{topic}.jsonl", "same key"),
        ("{topic}/{first}-{last}", "same key"),
        ("{topic}/{spool}-{first}-{last}", "same key"),
    ],
)
def test_a_wrong_template_is_refused_with_the_reason(template: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        KeyTemplate.parse(template)


def test_a_configuration_field_refuses_a_wrong_template() -> None:
    class Config(SinkConfig):
        key: ObjectKey
        """Key."""

    assert Config(key="{topic}/{id}").key == "{topic}/{id}"
    with pytest.raises(ValidationError, match=r"did you mean \{topic\}"):
        Config(key="{topik}/{id}")


@pytest.mark.parametrize(
    ("topic", "path"),
    [
        ("a/b", "a/b"),
        ("/a//b/", "%FF/a/%FF/b/%FF"),
        ("", "%FF"),
        ("../..", ".%2E/.%2E"),
        ("./x.", "%2E/x%2E"),
        ("a\\b\x00c\n%d", "a%5Cb%00c%0A%25d"),
        ("küche/温度", "küche/温度"),
        ("\ud800", "%ED%A0%80"),
        ("a\u202eb", "a%E2%80%AEb"),
        ("$SYS/x y", "$SYS/x y"),
    ],
)
def test_a_hostile_topic_becomes_a_safe_path(topic: str, path: str) -> None:
    assert key("{topic}/{id}", message(topic)) == f"{path}/0a1b-5"


def unescape(path: str) -> str:
    return "/".join(
        "" if part == "%FF" else unquote_to_bytes(part.encode()).decode("utf-8", "surrogatepass") for part in path.split("/")
    )


@given(st.text(max_size=40) | st.text(alphabet="/.%F\\\x00\nau2E", max_size=20))
def test_a_topic_can_be_read_back_from_its_path(topic: str) -> None:
    """Reversible, so two topics never share a name."""
    rendered = key("{topic}/{id}", message(topic))

    assert unescape(rendered.removesuffix("/0a1b-5")) == topic


TOPICS = st.text(alphabet=st.sampled_from("/.%ab\\\x00\ud800é温"), max_size=2000) | st.text(max_size=700)


@given(TOPICS, TOPICS, st.sampled_from(["{topic}/{id}.jsonl.gz", "x-{topic}.{id}.gz", "{topic}{topic[0]}{topic[-1]}/{id}"]))
def test_every_key_is_short_relative_and_its_own(one: str, other: str, template: str) -> None:
    rendered = key(template, message(one))

    assert len(rendered.encode()) <= 1024
    assert not rendered.startswith("/")
    for part in rendered.split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 255
        assert not any(character in part for character in "\x00\n\\")
    if template.endswith("gz"):
        assert rendered.endswith(".gz")
    assert (key(template, message(other)) == rendered) == (one == other)


def test_a_level_that_is_too_long_keeps_its_beginning_and_ends_in_a_digest() -> None:
    first, second = (key("{topic}/{id}.gz", message("a" * 300 + end)) for end in "xy")

    assert first != second
    assert first.startswith("a" * 200)


def test_messages_share_an_object_when_topic_folder_time_and_properties_agree() -> None:
    template = "{topic[0]}/{time:%Y/%m/%d/%H}/{property[site]}/{id}.jsonl"
    north = Properties(user=(("site", "north"),))
    base = partition(template, message(properties=north))

    assert partition(template, message(sequence=9, topic="plant/other", received_at=NOON + 60 * 10**9, properties=north)) == base
    assert partition(template, message(topic="office/x", properties=north)) != base
    assert partition(template, message(received_at=NOON + 3600 * 10**9, properties=north)) != base
    assert partition(template, message()) != base


def test_a_template_without_message_parts_has_one_partition() -> None:
    assert partition("{sink}/{id}", message("a")) == partition("{sink}/{id}", message("b", received_at=1))


def test_the_time_in_a_file_name_splits_no_batch_but_the_time_in_a_folder_does() -> None:
    later = message(received_at=NOON + 10**9)

    assert partition("a/{time:%H%M%S}-{id}", message()) == partition("a/{time:%H%M%S}-{id}", later)
    assert partition("{time:%H/%M/%S}-{id}", message()) != partition("{time:%H/%M/%S}-{id}", later)


@given(st.lists(st.integers(min_value=-(10**18), max_value=9 * 10**18), min_size=1, max_size=5))
def test_times_are_cached_without_ever_being_stale(times: list[int]) -> None:
    template = KeyTemplate.parse("{time:%Y-%m-%d %H}/{time:%M}/{time:%S}/{time:%f}/{id}")
    for received_at in times:
        rendered = template.key_of((message(received_at=received_at),), NAMES)
        seconds, nanoseconds = divmod(received_at, 10**9)
        if seconds < datetime(2020, 1, 1, tzinfo=UTC).timestamp():
            assert rendered.split("/")[:4] == ["unknown-time"] * 4
        else:
            expected = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
            assert rendered.startswith(expected.strftime("%Y-%m-%d %H/%M/%S/%f/"))


def test_a_clock_that_was_not_set_lands_in_unknown_time_and_not_in_1970() -> None:
    assert key("{time:%Y/%m/%d}/{id}", message(received_at=61 * 10**9)) == "unknown-time/0a1b-5"


def test_more_topics_than_the_cache_holds_are_rendered_right() -> None:
    template = KeyTemplate.parse("{topic}/{id}")

    partitions = [template.partition_of(message(f"t/{number}"), NAMES) for number in range(10_000)]

    assert partitions == [f"t/{number}" for number in range(10_000)]
    assert template.partition_of(message("t/1"), NAMES) == "t/1"


@pytest.mark.parametrize(("end", "compression"), [(".jsonl", "none"), (".jsonl.gz", "gzip"), (".zst", "zstd")])
def test_compression_is_read_from_the_end_of_the_template(end: str, compression: str) -> None:
    assert KeyTemplate.parse("{id}" + end).compression == compression


def test_a_name_that_batches_share_is_taken_only_where_that_is_asked_for() -> None:
    with pytest.raises(ValueError, match="same key"):
        KeyTemplate.parse("{host}/{time:%Y/%m/%d}/log.jsonl")
    KeyTemplate.parse("{host}/{time:%Y/%m/%d}/log.jsonl", unique=False)
