"""The reach into paho and aiomqtt holds only for releases that have what it reaches for (docs/decisions/002)."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import CallbackAPIVersion

from edgerouter.mqtt.client import AIOMQTT_PRIVATE_NAMES, PRIVATE_NAMES

ADVICE = "src/edgerouter/mqtt/client.py uses it; read docs/decisions/002 before you allow this release in pyproject.toml"


async def test_paho_still_has_the_private_names_that_the_source_uses() -> None:
    client = aiomqtt.Client("localhost")
    missing = [name for name in AIOMQTT_PRIVATE_NAMES if not hasattr(client, name)]
    assert not missing, f"aiomqtt {version('aiomqtt')} has no {missing}: {ADVICE}"
    missing = [name for name in PRIVATE_NAMES if not hasattr(client._client, name)]
    assert not missing, f"paho-mqtt {version('paho-mqtt')} has no {missing}: {ADVICE}"


def test_paho_still_takes_what_the_source_passes() -> None:
    def parameters(name: str) -> list[str]:
        return list(inspect.signature(getattr(PahoClient, name)).parameters)

    found = {name: parameters(name) for name in ("_packet_queue", "_packet_handle", "_sock_recv", "_sock_close", "_loop_rc_handle")}
    assert found == {
        "_packet_queue": ["self", "command", "packet", "mid", "qos", "info"],
        "_packet_handle": ["self"],
        "_sock_recv": ["self", "bufsize"],
        "_sock_close": ["self"],
        "_loop_rc_handle": ["self", "rc"],
    }, ADVICE


def test_a_packet_that_paho_reads_has_still_the_form_that_the_source_makes() -> None:
    packet = PahoClient(CallbackAPIVersion.VERSION2)._in_packet
    assert set(packet) == {
        "command", "have_remaining", "remaining_count", "remaining_mult", "remaining_length", "packet", "to_process", "pos",
    }, ADVICE  # fmt: skip


def test_paho_still_waits_for_the_answer_to_a_keep_alive_where_the_source_looks() -> None:
    assert "_ping_t" in inspect.getsource(PahoClient.loop_misc), ADVICE
    assert "_last_bytes_received" in inspect.getsource(PahoClient._check_keepalive), ADVICE
