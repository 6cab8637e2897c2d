"""Every entry that is sent is legal, and counted as SQS counts it.

Covers also: edgerouter_aws.sqs.packing.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgerouter import Message, Properties
from edgerouter.testing import make_message
from edgerouter_aws.sqs.config import SqsConfig
from edgerouter_aws.sqs.entry import Entries
from edgerouter_aws.sqs.packing import Packs
from support.aws.sqs import size_of

texts = st.text(max_size=40)


properties = st.builds(
    Properties,
    user=st.lists(st.tuples(texts, texts), max_size=12).map(tuple),
    content_type=st.none() | texts,
    response_topic=st.none() | texts,
    correlation_data=st.none() | st.binary(max_size=20),
)


anything = st.builds(
    lambda payload, topic, sequence, qos, given: make_message(payload, topic=topic, sequence=sequence, qos=qos, properties=given),
    st.binary(max_size=60) | texts.map(str.encode) | st.sampled_from([b"\x0b", b"\xef\xbf\xbe", "\uffff".encode(), b"\x7f"]),
    texts.filter(bool),
    st.integers(1, 2**40),
    st.integers(0, 2),
    st.none() | properties,
)


ALL = ("topic", "id", "time", "qos", "retained", "content_type", "response_topic", "correlation_data")


@given(anything, st.sampled_from([(), ("topic",), ALL[:5], ALL]), st.sampled_from([True, False, ("a", "b")]))
@settings(deadline=None)
def test_size_of_is_what_sqs_counts_and_every_entry_is_legal(message: Any, names: Any, user: Any) -> None:
    from support.aws.sqs import Queue, _check

    entries = Entries(SqsConfig(queue="q", attributes=names, user_properties=user))
    entry = entries.entry(message)
    for value in entry["MessageAttributes"].values():
        if "BinaryValue" in value:
            value["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    _check(Queue("q"), entry)
    assert entries.size_of(message) == size_of(entry)


@given(st.lists(anything, min_size=1, max_size=20), st.booleans(), st.sampled_from(("jsonl", "jsonl-exact")))
@settings(deadline=None)
def test_a_pack_of_what_fits_by_its_sizes_fits(batch: list[Any], gzip: bool, framing: Any) -> None:
    from support.aws.sqs import Queue, _check

    packs = Packs(framing, gzip=gzip)
    total = sum(map(packs.size_of, batch))
    limit = next(limit for limit in range(1024, 10**6, 64) if packs.room(limit) >= total)
    entry = packs.entry(batch)
    _check(Queue("q"), entry)
    assert size_of(entry) <= limit


@given(st.integers(0, 2**62))
def test_times_are_utc_to_the_microsecond(nanoseconds: int) -> None:
    entry = Entries(SqsConfig(queue="q", attributes=("time",))).entry(Message("t", b"x", nanoseconds))
    told = datetime.fromisoformat(entry["MessageAttributes"]["time"]["StringValue"])
    assert told == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
    assert len(entry["MessageAttributes"]["time"]["StringValue"]) == len("2026-11-20T10:00:00.000000Z")
