"""The program's first code: ready for a signal before anything that takes time is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType


def main() -> None:
    """Run one command."""
    if os.getpid() == 1:
        # The kernel throws away what process 1 of a container does not handle, so a stop during the imports would be lost, and the
        # engine would wait its full time and kill. Nothing is taken in yet; the router puts its own handler in place of this one.
        signal.signal(signal.SIGTERM, _end)
    if sys.argv[1:2] == ["run"]:
        # It asks for what is read in a moment anyway; unhandled, it would end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # What is imported lives as long as the process: examining it for garbage takes about a tenth of the start.
        # `memory.exempt_from_collection` ends this.
        gc.disable()
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _interrupt)
    if sys.argv[1:2] == ["run"]:
        _import_structlog()
    from edgerouter.cli.output import hook_tracebacks  # noqa: PLC0415

    hook_tracebacks()
    run = _import_router(sys.argv[1:]) or _import_commands()
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _import_router(arguments: list[str]) -> Callable[[], None] | None:
    """Return the function that runs the router, if these are `run` or `run -c FILE`: no other options, so no parser of options.

    The parser and the other commands take 4 MB and a tenth of the start. Anything else, mistakes too, is the parser's.
    """
    match arguments:
        case ["run"]:
            file = None
        case ["run", "-c" | "--config", name] if name and not name.startswith("-"):
            file = Path(name)
        case _:
            return None
    from edgerouter.field_docs import FieldDocs  # noqa: PLC0415  (that is what takes time)

    FieldDocs.wanted = False  # before any model is imported
    # pydantic would look through all installed packages for plugins to itself
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from edgerouter.cli.reporting import reporting  # noqa: PLC0415  (as above)
    from edgerouter.cli.run import run_file  # noqa: PLC0415  (as above)

    def run() -> None:
        try:
            reporting(lambda: run_file(file))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)  # as the parser's library ends a command

    return run


def _import_commands() -> Callable[[], None]:
    from edgerouter.cli.main import main  # noqa: PLC0415  (as above)

    return main


def _import_structlog() -> None:
    # It takes rich along for tracebacks in colour, which our logs do not use: 6 MB, and a tenth of the time to start.
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes an import of it fail
    import structlog  # noqa: F401, PLC0415

    del sys.modules["rich"]


def _end(_number: int, _frame: FrameType | None) -> None:
    # Not by an exception: in a callback of the import machinery it would be printed and forgotten (one stop in 300),
    # and while a class is made it would become another error.
    os._exit(0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Ctrl-C before there is anything to tidy up: no traceback of an import
    os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
