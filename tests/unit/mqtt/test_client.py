"""The reach into paho and aiomqtt holds only for releases that have what it reaches for (docs/decisions/002)."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import version
from pathlib import Path

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import CallbackAPIVersion

import edgerouter.mqtt

PRIVATE_NAMES = {
    "aiomqtt.Client": ("_client", "_connected", "_disconnected", "_misc_loop"),
    "paho.mqtt.client.Client": (
        "_create_socket", "_create_socket_connection", "_in_packet", "_keepalive", "_last_bytes_received", "_loop_rc_handle",
        "_msgtime_mutex", "_packet_handle", "_packet_queue", "_ping_t", "_protocol", "_send_pingreq", "_sock",
        "_sock_close", "_sock_recv",
    ),
}  # fmt: skip
"""Names that a new release of aiomqtt or paho must still have, by class."""

ADVICE = "src/edgerouter/mqtt/client.py uses it; read docs/decisions/002 before you allow this release in pyproject.toml"


async def test_aiomqtt_and_paho_still_have_the_private_names_that_we_use() -> None:
    client = aiomqtt.Client("localhost")
    missing = [name for name in PRIVATE_NAMES["aiomqtt.Client"] if not hasattr(client, name)]
    missing += [name for name in PRIVATE_NAMES["paho.mqtt.client.Client"] if not hasattr(client._client, name)]
    assert not missing, f"aiomqtt {version('aiomqtt')}, paho-mqtt {version('paho-mqtt')} have no {missing}: {ADVICE}"


def private_names_of_others(source: str) -> set[str]:
    """Private attributes that are not of `self`, `cls` or a class of the same module, also those named in `hasattr` and its kin."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr", "setattr"}:
            found |= {str(each.value) for each in node.args[1:2] if isinstance(each, ast.Constant)}
    return {name for name in found if name.startswith("_") and not name.endswith("__") and name not in own}


def test_every_private_name_that_we_use_is_listed_and_used_in_the_reach_only() -> None:
    """A new release is checked against the list, so a name that is missing there would break at run time."""
    files = {path.name: private_names_of_others(path.read_text()) for path in Path(edgerouter.mqtt.__file__).parent.glob("*.py")}

    assert set().union(*files.values()) == {name for names in PRIVATE_NAMES.values() for name in names}
    assert {name for name, found in files.items() if found} == {"client.py"}


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
