"""Peers given by the path of their program: Telegraf, Fluent Bit, Vector, Redpanda Connect."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.peers.peer import CLIENT_ID, TOPICS, Command, Missing, Peer, Work, version_of


class Binary(Peer):
    """A program that the operator has installed.

    Args:
        program: its path; `None` if it was not given.
    """

    option: ClassVar[str]
    """Option of the command line that names the program."""
    destinations = ("file", "http")

    def __init__(self, program: Path | None) -> None:
        self._program = program

    def install(self, tools: Path) -> str:  # noqa: ARG002  (the operator installs it)
        if self._program is None:
            raise Missing(f"give its program: {self.option} PATH")
        return version_of(str(self._program), "--version")

    def _written(self, work: Work, name: str, configuration: str) -> str:
        """Write the configuration; return its path."""
        path = work.folder / name
        path.write_text(configuration)
        return str(path)


class Telegraf(Binary):
    """Telegraf, which acknowledges a metric once its output has it; flushes every 100 ms in place of every 10 s."""

    name = "Telegraf"
    option = "--telegraf"
    acknowledges = "after the write"

    def command(self, work: Work) -> Command:
        file = f'[[outputs.file]]\nfiles = ["{work.file}"]\ndata_format = "json"\n'
        http = f'[[outputs.http]]\nurl = "{work.url}"\nmethod = "POST"\ndata_format = "json"\nuse_batch_format = true\n'
        configuration = f"""\
[agent]
flush_interval = "100ms"
metric_batch_size = 1000
metric_buffer_limit = 10000
omit_hostname = true
quiet = true

[[inputs.mqtt_consumer]]
servers = ["tcp://127.0.0.1:{work.port}"]
topics = ["{TOPICS}"]
qos = 1
persistent_session = true
client_id = "{CLIENT_ID}"
max_undelivered_messages = 1000
data_format = "value"
data_type = "string"

{file if work.url is None else http}"""
        return Command((str(self._program), "--config", self._written(work, "telegraf.conf", configuration)))


class FluentBit(Binary):
    """Fluent Bit, which is an MQTT server: publishers connect to it. Flushes every 100 ms in place of every second."""

    name = "Fluent Bit"
    option = "--fluent-bit"
    acknowledges = "on receipt"
    listens = True

    def command(self, work: Work) -> Command:
        file = f"path: {work.file.parent}\n      file: {work.file.name}\n      format: plain"
        port, _, path = (work.url or "http://127.0.0.1:0/").removeprefix("http://127.0.0.1:").partition("/")
        http = f"host: 127.0.0.1\n      port: {port}\n      uri: /{path}\n      format: json_lines\n      retry_limit: no_limits"
        configuration = f"""\
service:
  flush: 0.1
  log_level: error
pipeline:
  inputs:
    - name: mqtt
      tag: peer
      listen: 127.0.0.1
      port: {work.port}
  outputs:
    - name: {"file" if work.url is None else "http"}
      match: "*"
      {file if work.url is None else http}
"""
        return Command((str(self._program), "--quiet", "--config", self._written(work, "fluent-bit.yaml", configuration)))


class Vector(Binary):
    """Vector, whose MQTT source always keeps its session, and cannot wait for its sinks."""

    name = "Vector"
    option = "--vector"
    acknowledges = "on receipt"

    def command(self, work: Work) -> Command:
        file = f'type = "file"\npath = "{work.file}"\nencoding.codec = "text"\n'
        http = f'type = "http"\nuri = "{work.url}"\nencoding.codec = "json"\nframing.method = "newline_delimited"\n'
        configuration = f"""\
data_dir = "{work.folder}"

[sources.broker]
type = "mqtt"
host = "127.0.0.1"
port = {work.port}
topic = "{TOPICS}"
client_id = "{CLIENT_ID}"

[sinks.out]
inputs = ["broker"]
{file if work.url is None else http + "batch.timeout_secs = 0.1"}
"""
        return Command((str(self._program), "--quiet", "--config", self._written(work, "vector.toml", configuration)))


class RedpandaConnect(Binary):
    """Redpanda Connect, once Benthos, which acknowledges once its output has the message."""

    name = "Redpanda Connect"
    option = "--redpanda-connect"
    acknowledges = "after the write"

    def command(self, work: Work) -> Command:
        file = f"file:\n    path: {work.file}\n    codec: lines"
        batching = "batching: {count: 500, period: 20ms, processors: [{archive: {format: lines}}]}"
        http = f"http_client:\n    url: {work.url}\n    verb: POST\n    {batching}"
        configuration = f"""\
http:
  enabled: false
logger:
  level: ERROR
input:
  mqtt:
    urls: ["tcp://127.0.0.1:{work.port}"]
    topics: ["{TOPICS}"]
    client_id: {CLIENT_ID}
    qos: 1
    clean_session: false
output:
  {file if work.url is None else http}
"""
        return Command((str(self._program), "run", self._written(work, "redpanda-connect.yaml", configuration)))
