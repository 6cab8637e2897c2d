"""Forks routers from a process that has imported everything, so that one starts in milliseconds and can be killed often.

Reads a line `<configuration file> <log file>` for each router to start, answers `started <pid>`, and says `ended <pid> <exit code>`
when one has ended (negative: the signal).
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path


def child(config: str, log: str) -> None:
    """Become a router."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.closerange(3, 256)
    from edgerouter.cli.main import load
    from edgerouter.cli.run import run
    from edgerouter.cloudblock.start import CloudBlock

    cloud = CloudBlock(os.environ)
    run(lambda: load(Path(config), cloud), cloud)


def main() -> None:
    """Serve until the input ends; then every router is killed."""
    import aiohttp  # noqa: F401  (imported before the fork, so that no router has to)
    import uvloop  # noqa: F401

    import edgerouter.app
    import edgerouter.cli.main
    import edgerouter.cli.run
    import edgerouter.plugins
    import edgerouter.sinks.file.sink
    import edgerouter.sinks.http.sink
    import edgerouter.sources.mqtt.source
    import edgerouter.spool.sqlite.open  # noqa: F401

    running: set[int] = set()
    rest = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.005)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                print(f"ended {pid} {os.waitstatus_to_exitcode(status)}", flush=True)
        if not readable:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            config, log = line.decode().split("\t")
            pid = os.fork()
            if pid == 0:
                try:
                    child(config, log)
                    sys.stdout.flush()
                    os._exit(0)
                except SystemExit as error:
                    os._exit(error.code if isinstance(error.code, int) else 1)
                except BaseException:  # noqa: BLE001  (the child must not go on as a zygote)
                    import traceback

                    traceback.print_exc()
                    os._exit(1)
            running.add(pid)
            print(f"started {pid}", flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
