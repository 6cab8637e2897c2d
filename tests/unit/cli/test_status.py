"""The status in a terminal: what flows, what does not, why, and what to do."""

from __future__ import annotations

import io
import time

import msgspec
import pytest
from rich.console import Console

from edgerouter.admin.certificates import CertificateStatus
from edgerouter.cli.states import STATES
from edgerouter.cli.status import render
from support.status import SINK, SOURCE, router_status


def shown(**changes: object) -> str:
    """Return the text that an operator sees on a wide terminal."""
    screen = io.StringIO()
    Console(file=screen, width=200).print(render(msgspec.to_builtins(router_status(**changes))))
    return screen.getvalue()


def test_each_sink_says_whether_it_flows_and_a_failing_one_why_and_what_to_do() -> None:
    sinks = {
        "well": msgspec.structs.replace(SINK, pending=3, idle_seconds=1.0, last_delivery_at=time.time() - 1),
        "rest": msgspec.structs.replace(SINK, pending=0),
        "down": msgspec.structs.replace(SINK, state="retrying", last_error="503: [bold]closed"),
        "slow": msgspec.structs.replace(SINK, idle_seconds=300.0, oldest_pending_seconds=300.0),
    }

    text = shown(sinks=sinks, sources={"in": SOURCE})

    rows = {line.split()[0]: line for line in text.splitlines() if line.split()[1:2] in (["file"], ["mqtt"])}
    assert "delivering" in rows["well"]
    assert "1.0 s ago" in rows["well"]
    assert "idle" in rows["rest"]
    assert "never" in rows["rest"]
    assert "no delivery" in rows["slow"]
    assert "connected" in rows["in"]
    lines = [line.strip() for line in text.splitlines()]
    for name, why, state in (("down", "503: [bold]closed", "retrying"), ("slow", STATES["stuck"].long, "stuck")):
        at = lines.index(f"{name}: {why}")
        assert lines[at + 1].startswith(STATES[state].cure[:40])
    assert not [line for line in lines if line.startswith(("well: ", "rest: "))]


@pytest.mark.parametrize(
    ("days", "problem", "said"),
    [
        (400.0, "", None),
        (13.4, "", "/c.pem expires in 13 days"),
        (1.0, "", "/c.pem expires in 24 hours"),
        (-1.0, "", "/c.pem has expired"),
        (None, "holds no certificate", "/c.pem: holds no certificate"),
    ],
)
def test_a_certificate_is_named_while_it_needs_attention(days: float | None, problem: str, said: str | None) -> None:
    status = CertificateStatus(owner="sinks.a", field="tls.cert", file="/c.pem", expires_at=None, days_left=days, problem=problem)

    text = shown(certificates=[status])

    assert ("sinks.a.tls.cert" in text) == (said is not None)
    assert said is None or f"sinks.a.tls.cert: {said}" in text
