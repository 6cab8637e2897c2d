"""Only a valid context of a trace is used, whatever a device sends."""

import time

import pytest

from edgerouter.message import Message, Properties
from edgerouter.telemetry.trace_context import trace_context

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def message(*user: tuple[str, str]) -> Message:
    return Message("t", b"", 1, properties=Properties(user=user))


def test_the_context_of_a_device_is_read_from_its_user_properties() -> None:
    found = trace_context(message(("x", "y"), ("traceparent", PARENT), ("tracestate", "vendor=1"), ("traceparent", "other")))
    assert found is not None
    assert (found.traceparent, found.tracestate, found.trace_id, found.flags) == (PARENT, "vendor=1", int("a" * 32, 16), 1)


@pytest.mark.parametrize(
    "parent",
    [
        "", "x", PARENT[:-1], f"{PARENT}0", PARENT.upper(), f"ff{PARENT[2:]}", f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'0' * 16}-01", PARENT.replace("a", "\u0661"), f"{PARENT[:-1]}\n", "a" * 1_000_000,
    ],
)  # fmt: skip
def test_a_context_that_breaks_the_format_is_none(parent: str) -> None:
    assert trace_context(message(("traceparent", parent))) is None


@pytest.mark.parametrize("state", ["x" * 513, "a=\r\nb", "a=ä", ""])
def test_a_state_that_breaks_the_format_is_left_out(state: str) -> None:
    found = trace_context(message(("traceparent", PARENT), ("tracestate", state)))
    assert found is not None
    assert found.tracestate == ""


def test_a_message_without_properties_has_none() -> None:
    assert trace_context(Message("t", b"", 1)) is None
    assert trace_context(message()) is None


def test_a_hostile_message_costs_no_time() -> None:
    user = tuple((name, "0" * 60_000) for name in ("traceparent", "tracestate") * 1000)
    began = time.process_time()
    for _ in range(1000):
        trace_context(message(*user[:100]))
    assert time.process_time() - began < 0.5
