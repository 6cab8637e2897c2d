"""`python -m benchmarks.peers`: edgerouter beside other programs that do its work, from MQTT to a file or an HTTP service."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from benchmarks.peers.binaries import FluentBit, RedpandaConnect, Telegraf, Vector
from benchmarks.peers.edgerouter import Edgerouter, EdgerouterOnce
from benchmarks.peers.mqttwarn import Mqttwarn
from benchmarks.peers.node_red import NodeRed
from benchmarks.peers.peer import Missing, Peer
from benchmarks.peers.report import as_markdown
from benchmarks.peers.run import Options, Results, run
from benchmarks.peers.scripts import MosquittoSub, PlainAiomqtt, PlainMqttJs, PlainPaho

BINARIES = (Telegraf, FluentBit, Vector, RedpandaConnect)
TOOLS = Path(__file__).parents[2] / ".tools" / "peers"


def peers(options: argparse.Namespace) -> list[Peer]:
    """Return every peer, or those chosen."""
    given = [kind(getattr(options, kind.option[2:].replace("-", "_"))) for kind in BINARIES]
    scripts = [MosquittoSub(), PlainAiomqtt(), PlainPaho(), PlainMqttJs()]
    every: list[Peer] = [Edgerouter(), EdgerouterOnce(), *scripts, NodeRed(), Mqttwarn(), *given]
    return [peer for peer in every if not options.only or any(word.lower() in peer.name.lower() for word in options.only)]


def installed(candidates: list[Peer]) -> Results:
    """Install the peers; the results hold versions, and the reason where a peer cannot be had."""
    results = Results(candidates)
    for peer in candidates:
        try:
            results.versions[peer.name] = peer.install(TOOLS)
        except Missing as missing:
            results.missing[peer.name] = str(missing)
            print(f"{peer.name}: not run: {missing}", file=sys.stderr)
    return results


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    described = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    described.add_argument("--seconds", type=float, default=5.0, help="length of a run at full load or at 1,000 messages/s (5)")
    described.add_argument("--rounds", type=int, default=1, help="runs of each kind, of which the median counts (1)")
    described.add_argument("--outage", type=float, default=20.0, help="seconds without the HTTP service (20)")
    described.add_argument("--only", action="append", metavar="WORD", help="only peers with this word in the name; may be repeated")
    for kind in BINARIES:
        described.add_argument(kind.option, type=Path, metavar="PATH", help=f"program of {kind.name}; not run without")
    described.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where everything is written (/var/tmp)")
    described.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file too")
    return described


def command(options: argparse.Namespace) -> str:
    """Return the command that repeats a comparison, without paths of this machine."""
    standard = parser().parse_args([])
    chosen = [name for name in ("rounds", "outage") if getattr(options, name) != getattr(standard, name)]
    words = [f"--{name} {getattr(options, name):g}" for name in chosen]
    words += [f"--only {word}" for word in options.only or ()]
    words += [f"{kind.option} PATH" for kind in BINARIES if getattr(options, kind.option[2:].replace("-", "_"))]
    seconds = "" if options.seconds == standard.seconds else f" SECONDS={options.seconds:g}"
    return "make bench-peers" + seconds + (f' ARGS="{" ".join(words)}"' if words else "")


def main() -> None:
    """Install, measure, print."""
    options = parser().parse_args()
    chosen = peers(options)
    if not chosen:
        parser().error("no peer has such a word in its name; the rows of the table show the names")
    results = installed(chosen)
    asyncio.run(run(results, Options(options.seconds, options.rounds, options.outage, options.folder)))
    text = as_markdown(results, command(options))
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
