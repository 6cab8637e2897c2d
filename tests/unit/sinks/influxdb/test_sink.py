"""The InfluxDB sink against a server that parses as strictly as InfluxDB.

Covers also: edgerouter.sinks.influxdb.config, edgerouter.sinks.influxdb.template.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from edgerouter import Message, Properties, Rejected, SinkContext, Throttled, Unauthorized
from edgerouter.sinks.influxdb.config import InfluxDbConfig
from edgerouter.sinks.influxdb.lines import line, raw_fields, raw_tags
from edgerouter.sinks.influxdb.sink import InfluxDbSink
from edgerouter.testing import SinkConformance, make_message
from support.influxdb import BUCKET, ORG, TOKEN, InfluxDbServer


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.fixture
async def server() -> AsyncIterator[InfluxDbServer]:
    async with InfluxDbServer().running() as running:
        yield running


def settings(server: InfluxDbServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "token": TOKEN, "org": ORG, "bucket": BUCKET, **more}


@asynccontextmanager
async def opened(server: InfluxDbServer, **more: Any) -> AsyncIterator[InfluxDbSink]:
    config = InfluxDbConfig.model_validate(settings(server, **more))
    async with InfluxDbSink.open(config, SinkContext("db", "box", "spool")) as sink:
        yield sink


class TestConformance(SinkConformance):
    sink_class = InfluxDbSink
    effectively_once = True  # a point replaces an earlier one of the same series and time
    accepts_binary = False
    accepts_empty = False
    unsupported: ClassVar[Mapping[str, str]] = {"fail_once": "a request is taken whole or not at all"}

    @pytest.fixture
    async def server(self) -> AsyncIterator[InfluxDbServer]:
        async with InfluxDbServer().running() as running:
            yield running

    @pytest.fixture
    def config(self, server: InfluxDbServer) -> Mapping[str, Any]:
        fields = {"raw": "{payload}"}
        return settings(server, measurement="m", fields=fields, max_request_bytes="64KB")


def test_the_cloud_blocks_texts_are_read_as_line_protocol() -> None:
    assert raw_tags("room=server room,rack=a\\,b") == {"room": "server room", "rack": "a,b"}
    assert raw_fields('temp=61.2,n=3i,ok=true,note="a, \\"b\\" = c"') == {
        "temp": "61.2", "n": "3i", "ok": "true", "note": '"a, \\"b\\" = c"',
    }  # fmt: skip
    assert raw_tags("") == {}


@pytest.mark.parametrize("text", ["temp", "temp=", "temp=warm", "=1", "a=1 b=2", 'a="open', "a=1,,b=2", "a=1\nb=2"])
def test_values_that_influxdb_would_not_take_are_refused_here(text: str) -> None:
    with pytest.raises(ValueError, match="values"):
        line("m", {}, raw_fields(text) or raw_fields("x"), 1)


async def test_the_cloud_blocks_body_becomes_a_point(server: InfluxDbServer) -> None:
    async with opened(server, points="body") as sink:
        good = [
            make_message(body(measurement="cpu_temp", tags="room=lab,host=a", values="temp=61.2"), sequence=1),
            make_message(body(measurement="plain", tags=None, values="temp=61.2"), sequence=1),
            make_message(
                body(measurement="cpu", tags={"room": "b c"}, values={"load": 0.5, "u": {"n": 2}, "on": True}), sequence=2
            ),
        ]
        bad = [make_message(payload, sequence=3) for payload in (b"no", b"[]", body(values="a=1"), body(measurement="m"), b"\xff")]
        failures = (await sink.write([good[0], *bad, *good[1:]])).failed
    assert [failure.index for failure in failures] == [1, 2, 3, 4, 5]
    assert all(isinstance(failure.error, Rejected) for failure in failures)
    assert [(point.measurement, dict(point.tags), point.fields) for point in server.points.values()] == [
        ("cpu_temp", {"room": "lab", "host": "a"}, {"temp": 61.2}),
        ("plain", {}, {"temp": 61.2}),
        ("cpu", {"room": "b c"}, {"load": 0.5, "u.n": 2.0, "on": True}),
    ]


async def test_a_template_takes_names_from_topic_properties_and_payload(server: InfluxDbServer) -> None:
    payload = b'{"v": 3, "unit": "C", "deep": {"ok": true}}'
    properties = Properties(user=(("device", "d=1"),))
    message = Message("plant/line 1/temp", payload, 1_700_000_000_000_000_000, properties=properties, spool="s", sequence=5)
    tags = {
        "line": "{topic[1]}",
        "device": "{property[device]}",
        "box": "{host}",
        "none": "{property[x]}",
        "u": "in {payload[unit]}",
    }
    fields = {"v": "{payload[v]}", "t": "{payload[v]} {{C}}", "x": "{payload[x]}"}
    for more in ({"measurement": "{topic[-1]}", "tags": tags}, {"measurement": "chosen", "fields": fields}):
        async with opened(server, **more) as sink:
            assert not (await sink.write([message])).failed
    first, second = server.points.values()
    assert dict(first.tags) == {"line": "line 1", "device": "d=1", "box": "box", "u": "in C"}
    assert (first.measurement, first.fields) == ("temp", {"v": 3.0, "unit": "C", "deep.ok": True})
    assert second.fields == {"v": 3.0, "t": "3 {C}"}
    assert first.time == 1_700_000_000_000_000_005


async def test_members_that_cannot_be_fields_are_left_out_and_the_others_are_kept(server: InfluxDbServer) -> None:
    """InfluxDB reserves `time`, which devices often send; an empty name is not a name."""
    payload = b'{"time": "2026-11-21T03:00:00Z", "": 1, "a": {" ": 2, "time": 3}, "temp": 61.2}'
    async with opened(server) as sink:
        assert not (await sink.write([make_message(payload)])).failed
    (point,) = server.points.values()
    assert point.fields == {"a.time": 3.0, "temp": 61.2}


async def test_messages_of_one_moment_are_different_points(server: InfluxDbServer) -> None:
    """InfluxDB keeps one point of a series per time; none of these may replace another."""
    messages = [Message("t", b"1.5", 1_700_000_000_000_000_123, spool="s", sequence=number) for number in range(20_000)]
    async with opened(server) as sink:
        for _ in range(2):
            for start in range(0, len(messages), 5_000):
                await sink.write(messages[start : start + 5_000])
    assert len(server.points) == 20_000
    assert server.writes == [5_000] * 8


async def test_a_payload_over_the_largest_request_is_too_large_without_being_read(server: InfluxDbServer) -> None:
    async with opened(server, fields={"a": "{payload[a]}"}, max_request_bytes="1KiB") as sink:
        message = make_message(b'{"a": 1, "x": "' + b"x" * 2000 + b'"}')
        assert sink.limits.max_message_bytes is not None
        assert sink.size_of(message) > sink.limits.max_message_bytes
        assert sink.size_of(make_message(b'{"a": 1, "x": "' + b"x" * 900 + b'"}')) < 100


async def test_a_point_of_another_type_is_rejected_so_that_it_can_be_found(server: InfluxDbServer) -> None:
    async with opened(server) as sink:
        await sink.write([make_message(b'{"v": 1}')])
        with pytest.raises(Rejected, match="field type conflict"):
            await sink.write([make_message(b'{"v": 2}'), make_message(b'{"v": "text"}')])


@pytest.mark.parametrize("wrong", [{"token": "another"}, {"org": "x"}, {"bucket": "x"}])
async def test_a_wrong_token_organization_or_bucket_is_found_when_opening(server: InfluxDbServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized) as caught:
        async with opened(server, **wrong):
            pass
    assert TOKEN not in str(caught.value)


async def test_the_wait_that_influxdb_asks_for_is_passed_on(server: InfluxDbServer) -> None:
    async with opened(server) as sink:
        await server.throttle(7)
        with pytest.raises(Throttled) as caught:
            await sink.write([make_message(b"1")])
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"url": "influx:8086"}, "not the URL"),
        ({"url": "http://u:p@influx"}, "more than scheme"),
        ({"measurement": "{topc}"}, "unknown placeholder"),
        ({"tags": {"a": "{"}}, "single"),
        ({"fields": {"time": "x"}}, "not a name"),
        ({"points": "body", "tags": {"a": "b"}}, "points: template"),
        ({"token": "a\nb"}, "not valid in a token"),
        ({"proxy": "proxy:3128"}, "not the URL of a proxy"),
    ],
)
def test_what_cannot_work_is_refused_before_it_runs(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        InfluxDbConfig.model_validate({"url": "http://influx:8086", "token": "t", "org": "o", "bucket": "b", **wrong})
