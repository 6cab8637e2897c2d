"""The comparison with other programs counts exactly, reports what is missing, and shows first where edgerouter is behind."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from benchmarks.peers.__main__ import command, installed, main, parser, peers
from benchmarks.peers.arrived import FILLER_BYTES, arrived
from benchmarks.peers.binaries import FluentBit, RedpandaConnect, Telegraf, Vector
from benchmarks.peers.edgerouter import Edgerouter
from benchmarks.peers.measure import Calm, FullLoad, Killed, Outage, calm, full_load, killed, outage
from benchmarks.peers.peer import Command, Missing, Peer, Work, version_of
from benchmarks.peers.report import as_markdown
from benchmarks.peers.run import Options, Results, run
from benchmarks.peers.running import Silent
from benchmarks.peers.scripts import PlainPaho

PROGRAM = Path("/opt/program")


def payload(number: int, filler: int = FILLER_BYTES) -> str:
    return json.dumps({"n": number, "t": 1_795_168_800_000_000_000, "x": "a" * filler})


# Counting


def test_a_payload_is_counted_however_a_line_embeds_it(tmp_path: Path) -> None:
    lines = [
        payload(1),
        json.dumps({"topic": "t", "payload": json.loads(payload(2))}),
        json.dumps({"fields": {"value": payload(3)}}),
        payload(4).replace('"n": 4', '"n":         4'),
        payload(1),
    ]
    (tmp_path / "out.jsonl").write_text("\n".join(lines))

    assert arrived(tmp_path) == {1: 2, 2: 1, 3: 1, 4: 1}


@pytest.mark.parametrize("cut", [8, 40, 100, len(payload(1)) - 3])
def test_a_payload_that_was_cut_by_a_crash_does_not_count(cut: int, tmp_path: Path) -> None:
    """The next message may follow on the same line."""
    (tmp_path / "out.jsonl").write_text(payload(1)[:cut] + payload(2) + "\n")

    assert arrived(tmp_path) == {2: 1}


def test_messages_of_the_start_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text(payload(1, FILLER_BYTES - 100))

    assert not arrived(tmp_path)


# Configurations after the documentation of the programs


def written(peer: Peer, folder: Path, url: str | None = None) -> tuple[Command, str]:
    """Return the command, and the text of the one configuration file."""
    made = peer.command(Work(1884, folder, folder / "out" / "messages.jsonl", url))
    [file] = [path for path in folder.iterdir() if path.is_file()]
    assert str(file) in made.arguments
    return made, file.read_text()


def test_telegraf_acknowledges_after_the_write_and_keeps_its_session(tmp_path: Path) -> None:
    _, text = written(Telegraf(PROGRAM), tmp_path)
    config = tomllib.loads(text)

    [source] = config["inputs"]["mqtt_consumer"]
    assert (source["qos"], source["persistent_session"], source["servers"]) == (1, True, ["tcp://127.0.0.1:1884"])
    assert config["outputs"]["file"] == [{"files": [str(tmp_path / "out/messages.jsonl")], "data_format": "json"}]


def test_vector_has_a_text_line_for_each_message(tmp_path: Path) -> None:
    _, text = written(Vector(PROGRAM), tmp_path)
    config = tomllib.loads(text)

    assert config["sources"]["broker"]["topic"] == "sensors/#"
    assert config["sinks"]["out"]["encoding"] == {"codec": "text"}


def test_fluent_bit_listens_where_others_subscribe(tmp_path: Path) -> None:
    _, text = written(FluentBit(PROGRAM), tmp_path)
    pipeline = yaml.safe_load(text)["pipeline"]

    assert FluentBit.listens
    assert pipeline["inputs"] == [{"name": "mqtt", "tag": "peer", "listen": "127.0.0.1", "port": 1884}]
    assert pipeline["outputs"][0]["format"] == "plain"


def test_redpanda_connect_keeps_its_session(tmp_path: Path) -> None:
    _, text = written(RedpandaConnect(PROGRAM), tmp_path)
    config = yaml.safe_load(text)

    assert config["input"]["mqtt"]["clean_session"] is False
    assert config["output"]["file"]["codec"] == "lines"


@pytest.mark.parametrize(
    ("kind", "load"),
    [(Telegraf, tomllib.loads), (Vector, tomllib.loads), (FluentBit, yaml.safe_load), (RedpandaConnect, yaml.safe_load)],
)
def test_every_program_can_send_to_the_http_service(kind: type[Telegraf], load: object, tmp_path: Path) -> None:
    assert callable(load)
    _, text = written(kind(PROGRAM), tmp_path, "http://127.0.0.1:8099/")

    assert "8099" in json.dumps(load(text))


# Peers that are not there


def test_a_program_without_a_path_is_a_row_that_names_the_option() -> None:
    results = installed(peers(parser().parse_args(["--only", "vector"])))

    assert "| Vector | not run: give its program: --vector PATH |" in as_markdown(results, "make bench-peers")


def test_a_comparison_without_edgerouter_does_not_say_that_it_is_ahead() -> None:
    assert "- not measured" in as_markdown(Results([PlainPaho()], versions={PlainPaho.name: "2"}), "make bench-peers")


def test_a_word_that_names_no_peer_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", "--only", "logstash"])

    with pytest.raises(SystemExit):
        main()

    assert "no peer has such a word" in capsys.readouterr().err


def test_a_program_that_does_not_run_is_missing() -> None:
    with pytest.raises(Missing, match="/nowhere/telegraf does not run"):
        Telegraf(Path("/nowhere/telegraf")).install(Path())
    with pytest.raises(Missing, match="prints no version"):
        version_of("true")


async def test_a_peer_that_fails_is_named_and_the_comparison_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(PlainPaho):
        name = "broken"

        def command(self, work: Work) -> Command:
            raise FileNotFoundError("no such program")

    results = Results([Broken()], versions={"broken": "1"})

    await run(results, Options(seconds=0.1, rounds=1, outage=0, folder=tmp_path))

    assert results.failed == [f"broken, {what}, to file: no such program" for what in ("full load", "moderate rate", "killed")]


# The report


def measured(**changes: float) -> Results:
    """Results in which paho is cheaper, and slower."""
    ours, paho = Edgerouter(), PlainPaho()
    results = Results([ours, paho], versions={ours.name: "0.1", paho.name: "2.2"})
    results.measured += [
        (ours.name, "file", FullLoad(50_000, 8.0, 60_000_000, 1.5, 0.4)),
        (paho.name, "file", FullLoad(9_000, 7.0, 60_000_000, 1.5, 0.5)),
        (ours.name, "file", Calm(1.0, 2.0, 60_000_000, 20.0, 30.0, 1.5, 0.4)),
        (paho.name, "file", Calm(1.0, 3.0, 60_000_000, 20.0, 30.0, 1.5, 0.4)),
        (ours.name, "file", Killed(100, 0, 0)),
        (paho.name, "file", Killed(90, 3, 0)),
        (ours.name, "http", Outage(100, 0, 0, 0.5)),
    ]
    return results


def test_the_report_begins_with_the_figures_in_which_another_is_better_and_with_no_others() -> None:
    text = as_markdown(measured(), "make bench-peers")

    behind, _, tables = text.partition("\n| full load, to a file |")
    assert [line for line in behind.splitlines() if line.startswith("- ")] == [
        "- full load, to a file, CPU, us a message: 8.0. Better: script over paho 7.0."
    ]
    assert tables.index("| script over paho | 7.0 | 9,000 |") < tables.index("| **edgerouter** | 8.0 | 50,000 |")
    assert "| script over paho | 3 | 0 | 90 |" in tables


def test_the_command_in_the_report_holds_no_path_of_this_machine() -> None:
    options = parser().parse_args(
        ["--seconds", "2", "--telegraf", "/home/me/telegraf", "--markdown", "/home/me/table.md", "--rounds", "3"]
    )

    assert command(options) == 'make bench-peers SECONDS=2 ARGS="--rounds 3 --telegraf PATH"'


# Short runs with real parts


LISTENER = """\
import socket, sys
served = socket.create_server(("127.0.0.1", int(sys.argv[1])))
with open(sys.argv[2], "ab", buffering=0) as out:
    while True:
        publisher, _ = served.accept()
        packets = publisher.makefile("rb")
        while kind := packets.read(1):
            size, shift = 0, 0
            while (digit := packets.read(1)[0]) > 127:
                size, shift = size | (digit & 127) << shift, shift + 7
            body = packets.read(size | digit << shift)
            if kind == b"\\x10":
                publisher.sendall(b"\\x20\\x02\\x00\\x00")
            elif kind == b"\\x32":
                end = 2 + int.from_bytes(body[:2], "big")
                out.write(body[end + 2 :] + b"\\n")
                publisher.sendall(b"\\x40\\x02" + body[end : end + 2])
"""


class Listener(PlainPaho):
    """A server that publishers connect to, in place of a broker."""

    listens = True

    def command(self, work: Work) -> Command:
        script = work.folder / "listener.py"
        script.write_text(LISTENER)
        return Command((sys.executable, str(script), str(work.port), str(work.file)))


async def test_a_peer_that_is_the_broker_itself_gets_the_publishers(tmp_path: Path) -> None:
    run = await calm(Listener(), "file", 0.3, tmp_path)

    assert run.share == 1
    assert run.p50_ms < run.p99_ms


async def test_a_peer_that_delivers_nothing_is_silent_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(PlainPaho):
        def command(self, work: Work) -> Command:
            return Command((sys.executable, "-c", "import sys; sys.exit('bad configuration')"))

    monkeypatch.setattr("benchmarks.peers.running.START", 1.0)

    with pytest.raises(Silent, match="nothing arrived within 1 s: bad configuration"):
        await calm(Mute(), "file", 0.3, tmp_path)


async def test_an_outage_of_the_service_is_survived_by_the_router(tmp_path: Path) -> None:
    losses = await outage(Edgerouter(), 0.5, tmp_path)

    assert (losses.lost, losses.again) == (0, 0)
    assert losses.back_after_seconds is not None


async def test_a_script_is_measured_at_full_load(tmp_path: Path) -> None:
    run = await full_load(PlainPaho(), "file", 0.2, tmp_path)

    assert run.messages_a_second > 100
    assert run.cpu_us_a_message > 0
    assert not list(tmp_path.iterdir()), "the workspace is removed"


async def test_a_router_that_is_killed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.measure.KILLS", 1)
    monkeypatch.setattr("benchmarks.peers.measure.KILL_MESSAGES", 2000)

    losses = await killed(Edgerouter(), tmp_path)

    assert (losses.acknowledged, losses.lost) == (2000, 0)
