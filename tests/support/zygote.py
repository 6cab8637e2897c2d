"""Forks routers from a process that has imported everything, so that one starts in milliseconds and can be killed often.

Forks commands too: a router is the command `run`.

Listens on the Unix socket that its argument names. A connection starts one process: it sends a line of JSON (`arguments` of the
command line, `environment`, `folder` to work in, `log` to write to, `output` for the standard output if that is not the log, or
`terminal` for a session on that terminal), reads
the number of the process, and, when that has ended, its exit code (negative: the signal). The end of the standard input ends this
process and every process that still runs.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from support import measuring

sys.path.pop()

MODULES = (
    "aiohttp",
    "uvloop",
    "edgerouter.app",
    "edgerouter.cli.main",
    "edgerouter.cli.run",
    "edgerouter.cli.top.session",
    "edgerouter.plugins",
    "edgerouter.sinks.file.sink",
    "edgerouter.sinks.http.sink",
    "edgerouter.sources.mqtt.source",
    "edgerouter.spool.sqlite.open",
    # the SDKs take most of a second each
    "aiobotocore.session",
    "azure.eventhub.aio",
    "azure.identity.aio",
    "azure.storage.blob.aio",
    "gcloud.aio.auth",
)


def child(order: dict[str, Any]) -> None:
    """Become a router, as the command line would in a separate process."""
    if "terminal" in order:
        os.setsid()
        log = output = null = os.open(order["terminal"], os.O_RDWR)  # it controls the new session
        # ignored where tests run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
    else:
        log, output = (
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for path in (order["log"], order.get("output", order["log"]))
        )
        null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, output), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if order["folder"] is not None:
        os.chdir(order["folder"])
    random.seed()
    sys.argv = ["edgerouter", *order["arguments"]]
    from edgerouter.cli.start import main

    main()


def start(connection: socket.socket) -> int:
    """Fork the router that a connection asks for; return its process number."""
    data = b""
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 20)
    pid = os.fork()
    if pid:
        connection.sendall(b"%d\n" % pid)
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code: int | bool = 0
    measuring.forked()
    try:
        child(json.loads(data))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else error.code is not None
    except BaseException:  # noqa: BLE001  (the child must not continue as a zygote)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    measuring.write()
    os._exit(code)


def report(running: dict[int, socket.socket]) -> None:
    """Send the exit codes of those that have ended."""
    for pid, connection in list(running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(OSError):  # the test that started it may be over
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            running.pop(pid).close()
            measuring.learn(pid)


def serve(path: str) -> None:
    """Serve until the input ends; then every router is killed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    print("ready", flush=True)
    running: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([0, listener.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
        report(running)
        if listener.fileno() in readable:
            connection, _ = listener.accept()
            running[start(connection)] = connection
        if 0 in readable and not os.read(0, 4096):
            break
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    """Import what routers need, and serve."""
    measuring.start()
    for module in MODULES:
        with suppress(ModuleNotFoundError):  # a distribution may not be installed
            import_module(module)
    assert threading.active_count() == 1, "a thread does not survive a fork"
    measuring.clear(least=1)
    serve(sys.argv[1])
    measuring.write()


if __name__ == "__main__":
    main()
