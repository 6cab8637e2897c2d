"""Parquet files: columns by configuration, what does not fit, and the same bytes at every retry.

Covers also: edgerouter_aws.s3.columns.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerouter import Message, Properties, Rejected
from edgerouter.testing import Received, make_context, make_message
from edgerouter_aws.s3.columns import Column, ParquetOptions
from edgerouter_aws.s3.config import S3Config
from edgerouter_aws.s3.parquet import ParquetTable
from edgerouter_aws.s3.sink import S3Sink
from support.aws.s3 import S3Server, Stored


def read(body: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(body)).to_pylist()
    return rows


def table(*columns: tuple[str, str], mismatch: Any = "null") -> ParquetTable:
    made = tuple(Column(name=f"c{n}", type=kind, value=value) for n, (kind, value) in enumerate(columns))  # type: ignore[arg-type]
    return ParquetTable(ParquetOptions(columns=made, mismatch=mismatch))


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    def unpack(key: str, stored: Stored) -> list[Received]:
        return [Received(row["payload"], row["topic"], row["id"]) for row in read(stored.body)]

    async with S3Server(unpack).running() as server:
        yield server


async def test_a_batch_is_a_table_of_messages_by_default(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = [make_message(payload, sequence=n) for n, payload in enumerate([b"1.5", b"", b"\xff\x00"], 1)]
    config = S3Config(bucket=s3.bucket, endpoint_url=s3.url, framing="parquet", **keys)
    async with S3Sink.open(config, make_context()) as sink:
        for _ in range(2):
            assert not (await sink.write(batch)).failed
    ((key, stored),) = s3.objects.items()
    assert key.endswith("-5p00l-1-3.parquet")
    assert stored.writes == 2
    assert stored.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert [item.payload for item in await s3.received()] == [b"1.5", b"", b"\xff\x00"]
    assert read(stored.body)[0] == {
        "id": "5p00l-1", "topic": "plant/line-1/temperature", "time": batch[0].time, "qos": 1, "retained": False, "payload": b"1.5",
    }  # fmt: skip


def test_columns_come_from_topic_levels_properties_and_json_payloads() -> None:
    message = make_message(
        b'{"t": 21.5, "n": 3, "ok": true, "at": "2026-01-02T03:04:05Z", "epoch": 1.5, "deep": {"a": [1, 2]}}',
        properties=Properties(user=(("device", "d7"),)),
    )
    columns = {
        ("string", "topic[1]"): "line-1",
        ("string", "topic[9]"): None,
        ("string", "property[device]"): "d7",
        ("float64", "payload.t"): 21.5,
        ("int32", "payload.n"): 3,
        ("bool", "payload.ok"): True,
        ("timestamp", "payload.at"): datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ("timestamp", "payload.epoch"): datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
        ("json", "payload.deep.a"): "[1,2]",
        ("float32", "payload.missing"): None,
        ("int64", "sequence"): 1,
        ("json", "payload"): message.payload.decode().replace(" ", ""),
        ("float64", "payload.n"): 3.0,
    }
    body, failures = table(*columns).encode([message])
    assert not failures
    (row,) = read(body)
    assert list(row.values()) == list(columns.values())


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("int32", b"3000000000"), ("int64", b"1.5"), ("int64", b"true"), ("bool", b"1"), ("string", b"7"), ("float64", b'"7"'),
        ("timestamp", b'"yesterday"'), ("timestamp", b"1e300"), ("binary", b"[1]"), ("float32", b"1e39"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_null_or_rejects_its_message(kind: str, payload: bytes) -> None:
    message = make_message(b'{"v": ' + payload + b"}")
    good = make_message(b"no json", sequence=2)
    body, failures = table((kind, "payload.v")).encode([message, good])
    assert [failures, read(body)] == [[], [{"c0": None}, {"c0": None}]]
    body, failures = table((kind, "payload.v"), mismatch="reject").encode([message, good])
    assert [(failure.index, type(failure.error)) for failure in failures] == [(0, Rejected)]
    assert len(read(body)) == 1


KINDS = ["string", "binary", "bool", "int32", "int64", "float32", "float64", "timestamp", "json"]


@given(
    st.lists(
        st.binary(max_size=20)
        | st.text(max_size=20).map(str.encode)
        | st.sampled_from([b'"\\ud800"', b"1e999", b"-0.0", b"{}", b"NaN"]),
        max_size=8,
    ),
    st.sampled_from(KINDS),
    st.sampled_from(["payload", "payload.v", "topic", "time"]),
)
@settings(deadline=None)
def test_any_payload_in_any_column_gives_a_file_that_can_be_read(payloads: list[bytes], kind: str, value: str) -> None:
    batch: list[Message] = [
        make_message(b'{"v": ' + payload + b"}" if value == "payload.v" else payload, sequence=n)
        for n, payload in enumerate(payloads, 1)
    ]
    encoder = table((kind, value))
    body, failures = encoder.encode(batch)
    assert not failures
    assert len(read(body)) == len(batch)
    assert encoder.encode(batch)[0] == body


def test_the_sink_comes_without_pyarrow() -> None:
    """It is imported only where the configuration says parquet."""
    program = (
        "import edgerouter_aws.s3.sink, edgerouter_aws.sqs.sink, sys; assert not {'pyarrow', 'pandas', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
