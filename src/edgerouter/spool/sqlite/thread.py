"""The one thread that touches the database."""

from __future__ import annotations

from edgerouter.tasks.thread import Worker


class DatabaseThread(Worker):
    """Runs every call to its end, also when its caller is cancelled: what it did to the database has to be known.

    A SQLite connection wants one thread, and one connection that writes is what keeps a WAL sound; so everything waits in one line.
    """

    def __init__(self) -> None:
        super().__init__("edgerouter-spool", skips_cancelled=False)
