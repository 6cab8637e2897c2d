"""Peers of a few lines: mosquitto_sub, and plain scripts over aiomqtt, paho and mqtt.js. They write files, and nothing else."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.install import npm, program
from benchmarks.peers.peer import CLIENT_ID, TOPICS, Command, Peer, Work, version_of

FOLDER = Path(__file__).parent
MQTT_JS = "5.16.0"


class MosquittoSub(Peer):
    """Debian's package mosquitto-clients."""

    name = "mosquitto_sub"
    acknowledges = "on receipt"

    def install(self, tools: Path) -> str:  # noqa: ARG002  (a package of the system)
        return version_of(program("mosquitto_sub"), "--version")

    def command(self, work: Work) -> Command:
        session = ("-i", CLIENT_ID, "-c", "-q", "1", "-t", TOPICS)
        connection = ("-h", "127.0.0.1", "-p", str(work.port))
        return Command((program("mosquitto_sub"), *connection, *session, "-F", "%p"), standard_output=work.file)


class PlainAiomqtt(Peer):
    """The baseline of `make bench`."""

    name = "script over aiomqtt"
    acknowledges = "on receipt"

    def install(self, tools: Path) -> str:  # noqa: ARG002  (the router needs it)
        return version("aiomqtt")

    def command(self, work: Work) -> Command:
        script = FOLDER.with_name("baseline.py")
        return Command((sys.executable, str(script), str(work.port), "1", str(work.file)))


class PlainPaho(Peer):
    """paho's callback, the usual way in Python."""

    name = "script over paho"
    acknowledges = "after the write"

    def install(self, tools: Path) -> str:  # noqa: ARG002  (the router needs it)
        return version("paho-mqtt")

    def command(self, work: Work) -> Command:
        return Command((sys.executable, str(FOLDER / "paho_file.py"), str(work.port), str(work.file)))


class PlainMqttJs(Peer):
    """mqtt.js on Node.js."""

    name = "script over mqtt.js"
    acknowledges = "after the write"

    def __init__(self) -> None:
        self._package = Path()

    def install(self, tools: Path) -> str:
        self._package = npm(tools, "mqtt", MQTT_JS)
        return f"{MQTT_JS}, Node.js {version_of(program('node'), '--version')}"

    def command(self, work: Work) -> Command:
        script = FOLDER / "mqtt_js_file.cjs"
        return Command((program("node"), str(script), str(self._package), str(work.port), str(work.file)))
