"""A device cannot change the structure of InfluxDB's lines, merge two series, or create a disproportionate line.

Covers also: edgerouter.sinks.influxdb.json_fields, edgerouter.sinks.influxdb.points.
"""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter import Message, SinkContext
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.json_fields import MOST_DEPTH, MOST_FIELDS, MOST_NAMES, MOST_VALUES
from edgerouter.sinks.influxdb.lines import field, line, raw_fields, raw_tags
from edgerouter.sinks.influxdb.points import ToLine, by_body, by_template, time_of
from edgerouter.testing import make_message
from support.line_protocol import Version, read

ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
HOSTILE = st.text(st.sampled_from('\\ ,=%"\n\t\r\x00#5C0aé'), min_size=1, max_size=10)
NAME = ANY | HOSTILE
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | HOSTILE
VALUE = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
POINT = st.tuples(NAME, st.dictionaries(NAME, NAME, max_size=3), st.dictionaries(NAME, VALUE, min_size=1, max_size=3))

both_versions = pytest.mark.parametrize("version", [2, 3])


def decoded(name: str) -> str:
    """Undo the percent-encoding of a name."""
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), name)


def to_line(**config: Any) -> ToLine:
    model = InfluxDbConfig.model_validate({"url": "http://influx:8086", "token": "t", "org": "o", "bucket": "b", **config})
    return by_template(model, SinkContext("db", "box", "spool"))


@both_versions
@given(points=st.lists(POINT, min_size=1, max_size=4))
def test_no_name_or_text_can_forge_a_line_or_a_field(
    version: Version, points: list[tuple[str, dict[str, str], dict[str, Any]]]
) -> None:
    """Both of InfluxDB's parsers read each point as intended, whatever it and the points around it contain."""
    points = [point for point in points if not point[0].startswith("#")]
    written = b"\n".join(
        [line(name, tags, {key: field(value) for key, value in fields.items()}, 17) for name, tags, fields in points]
    ).decode()

    found = read(written, version)

    assert [decoded(point.measurement) for point in found] == [name for name, _, _ in points]
    assert [{decoded(key): decoded(value) for key, value in point.tags} for point in found] == [tags for _, tags, _ in points]
    assert [{decoded(key): value for key, value in point.fields} for point in found] == [fields for _, _, fields in points]
    assert {point.time for point in found} <= {17}


@both_versions
@pytest.mark.parametrize("topic", ["x\\ forged=1", "x\\", "x\\ ", "x\\\\ y", "x\n y=1", "x\\\n", "x\\,t=1", "x\t"])
def test_a_topic_stays_one_measurement(version: Version, topic: str) -> None:
    (point,) = read(to_line()(make_message(b"1.5", topic=topic)).decode(), version)
    assert decoded(point.measurement) == topic
    assert point.fields == (("value", 1.5),)
    assert point.tags == ()


@both_versions
@given(first=NAME, second=NAME)
def test_different_tag_values_are_different_series(version: Version, first: str, second: str) -> None:
    one, other = (read(line("m", {"t": value}, {"f": "1"}, 1).decode(), version)[0].tags for value in (first, second))
    assert (one == other) == (first == second)


@both_versions
@pytest.mark.parametrize(
    "values",
    [
        ("v", "v ", " v", "v  ", "v\\", "v\\\\", "v\\ ", "v \\", "v\n", "v\t", "v%5C", "v%5c", "v%255C", "v%20", "v\xa0"),
        ("a b", "a\nb", "a\tb", "a\\ b", "a\\\\ b", "a%0Ab", "a\\,b", "a,b", "a\\=b", "a=b"),
    ],
)
def test_values_that_differ_in_blanks_and_backslashes_alone_are_different_series(version: Version, values: tuple[str, ...]) -> None:
    found = {read(line("m", {"t": value}, {"f": "1"}, 1).decode(), version)[0].tags for value in values}
    assert len(found) == len(values)


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (3, "3"),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (2**53 + 1, "9007199254740993i"),
        (2**63 - 1, "9223372036854775807i"),
        (-(2**63), "-9223372036854775808i"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
    ],
)
def test_a_number_keeps_its_value(number: float, written: str) -> None:
    assert field(number) == written
    assert raw_fields(f"f={number}")["f"] == (written if isinstance(number, int) else str(number))


def test_a_whole_number_that_no_field_can_hold_is_an_error() -> None:
    for number in (2**63, -(2**63) - 1, 10**40):
        with pytest.raises(ValueError, match="64 bits"):
            field(number)
        with pytest.raises(ValueError, match="64 bits"):
            to_line()(make_message(b'{"a": %d}' % number))
        with pytest.raises(ValueError, match="64 bits"):
            raw_fields(f"f={number}")


def test_blanks_around_a_raw_value_mean_nothing_unless_they_are_escaped() -> None:
    assert raw_tags("a= x , b=y\\ ,c=\\ z") == {"a": "x", "b": "y ", "c": " z"}


# Times


@pytest.mark.parametrize("first", [1, 90_000, 99_900, 100_100, 100_190, 10**9])
def test_messages_of_one_read_are_separate_points_and_rise(first: int) -> None:
    """As numbered and timed by the spool: a microsecond apart, at any sequence."""
    messages = [Message("t", b"1", 1_700_000_000_000_000_000 + n * 1000, spool="s", sequence=first + n) for n in range(20_000)]
    times = [time_of(message) for message in messages]
    assert all(one < other for one, other in pairwise(times))
    assert all(0 <= at - message.received_at < 100_000 for at, message in zip(times, messages, strict=True))


def test_messages_that_share_one_time_in_a_spool_of_an_older_release_are_separate_points() -> None:
    messages = [Message("t", b"1", 1_700_000_000_000_000_000, spool="s", sequence=n) for n in range(20_000)]
    times = [time_of(message) for message in messages]
    assert all(one < other for one, other in pairwise(times))


# Bounds


def nested(depth: int, name: str = "n") -> bytes:
    return b'{"%b":' % name.encode() * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (nested(MOST_DEPTH + 1), "deep"),
        (nested(900), "deep"),
        (json.dumps({f"f{n}": 1 for n in range(MOST_FIELDS + 1)}).encode(), "fields"),
        (b"[" + b"1," * MOST_VALUES + b"1,1]", "values"),
        (b" \n " + b"[" + b"{}," * MOST_VALUES + b"{}]", "values"),
        (json.dumps({"x" * (MOST_NAMES // 4): {f"f{n}": 1 for n in range(5)}}).encode(), "names"),
        # not a single field, yet every inner object has a separate name
        (json.dumps({"x" * 100_000: {f"o{n}": {} for n in range(5_000)}}).encode(), "names"),
        (json.dumps({"x" * 30_000: {"y" * 30_000: {f"f{n}": 1 for n in range(4_000)}}}).encode(), "names"),
    ],
    ids=["depth", "great depth", "fields", "items", "objects", "long names", "empty objects", "names times fields"],
)
@pytest.mark.parametrize("make", [to_line, by_body], ids=["template", "body"])
def test_a_payload_out_of_bounds_is_refused_at_once(make: Any, payload: bytes, why: str) -> None:
    """A nested payload of 1 MB made a line of 200 MB, and blocked the event loop for 15 seconds."""
    if make is by_body:
        payload = b'{"measurement": "m", "values": ' + payload + b"}" if payload.startswith(b"{") else payload
    began = time.thread_time()
    with pytest.raises(ValueError, match=why):
        make()(make_message(payload))
    assert time.thread_time() - began < 1, "CPU seconds of this thread alone"


def test_a_payload_within_bounds_has_all_its_fields() -> None:
    payload = json.dumps({"deep": {"er": {f"f{n}": n for n in range(MOST_FIELDS)}}}).encode()
    (point,) = read(to_line()(make_message(payload)).decode(), 2)
    assert dict(point.fields) == {f"deep.er.f{n}": float(n) for n in range(MOST_FIELDS)}
    assert read(to_line()(make_message(nested(MOST_DEPTH))).decode(), 2)


def test_text_may_be_long_and_full_of_commas() -> None:
    payload = b"1,2," * MOST_VALUES
    (point,) = read(to_line(fields={"raw": "{payload}"})(make_message(payload)).decode(), 2)
    assert point.fields == (("raw", payload.decode()),)
