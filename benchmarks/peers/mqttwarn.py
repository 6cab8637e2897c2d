"""mqttwarn: topics to services, one call for each message."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.install import pypi
from benchmarks.peers.peer import CLIENT_ID, TOPICS, Command, Peer, Work

VERSION = "0.36.1"
CONFIGURATION = """\
[defaults]
hostname = '127.0.0.1'
port = {port}
clientid = '{client_id}'
cleansession = False
launch = {service}
loglevel = 'ERROR'
logfile = 'stream://sys.stderr'

[config:{service}]
targets = {{ 'out': {target} }}
{options}

[everything]
topic = {topics}
targets = {service}:out
qos = 1
"""


class Mqttwarn(Peer):
    """mqttwarn from PyPI, in its own environment."""

    name = "mqttwarn"
    acknowledges = "on receipt"
    destinations = ("file", "http")

    def __init__(self) -> None:
        self._programs = Path()

    def install(self, tools: Path) -> str:
        self._programs = pypi(tools, "mqttwarn", VERSION)
        return VERSION

    def command(self, work: Work) -> Command:
        if work.url is None:
            service, target, options = "file", f"['{work.file}']", "append_newline = True"
        else:
            service, target, options = "http_urllib", f"['post', '{work.url}', None, None, None]", "timeout = 10"
        configuration = work.folder / "mqttwarn.ini"
        configuration.write_text(
            CONFIGURATION.format(
                port=work.port, client_id=CLIENT_ID, service=service, target=target, options=options, topics=TOPICS
            )
        )
        return Command((str(self._programs / "mqttwarn"),), {"MQTTWARNINI": str(configuration)})
