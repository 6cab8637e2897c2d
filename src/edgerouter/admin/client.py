"""Ask a running router over the Unix socket in its spool's folder, and trust one that is asked over TLS."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from edgerouter.admin.listen import unix_connection
from edgerouter.errors import EdgerouterError
from edgerouter.tls import load_authorities

TIMEOUT_SECONDS = 30.0
"""For an answer that only looks."""
WORK_SECONDS = 3600.0
"""For an answer that takes work, such as reading a whole spool."""


class NoRouter(EdgerouterError):
    """No router runs on this spool folder."""


class Refused(EdgerouterError):
    """The router does not do what was asked."""


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Return what connects to routers over TLS.

    Args:
        authorities: the file of `--ca-file`; the system's authorities by default.

    Raises:
        EdgerouterError: the file cannot be used.
    """
    context = ssl.create_default_context()
    if authorities is not None:
        try:
            load_authorities(context, authorities)
        except ValueError as error:
            raise EdgerouterError(f"--ca-file: {error}") from None
    return context


class Unanswered(Refused):
    """A router runs, and does not answer in time."""


class UnixConnection(http.client.HTTPConnection):
    """A connection to the router that runs on a spool folder."""

    def __init__(self, folder: Path, seconds: float | None) -> None:
        super().__init__("edgerouter", timeout=seconds)
        self._folder = folder
        self._seconds = seconds

    def connect(self) -> None:
        self.sock: socket.socket = unix_connection(self._folder)
        self.sock.settimeout(self._seconds)


class Client:
    """Talks to the router that runs on a spool folder.

    Args:
        folder: `spool.path` of its configuration.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: str) -> Any:
        """Return a JSON answer that takes no work.

        Raises:
            NoRouter: none runs there.
            Refused: the router refuses; the text says why.
        """
        return self._ask("GET", path, None, TIMEOUT_SECONDS)

    def ask(self, method: str, path: str, arguments: Mapping[str, Any], *, seconds: float | None = WORK_SECONDS) -> Any:
        """Return the JSON answer to a request with arguments, which may take work.

        Args:
            method: `GET` or `POST`.
            path: of the operation.
            arguments: its arguments.
            seconds: to wait for the answer; `None` = for ever.

        Raises:
            NoRouter: none runs there.
            Refused: the router refuses; the text says why.
        """
        if method == "GET":
            return self._ask(method, f"{path}?{urlencode(arguments, doseq=True)}", None, seconds)
        return self._ask(method, path, json.dumps(arguments), seconds)

    def _ask(self, method: str, path: str, body: str | None, seconds: float | None) -> Any:
        connection = UnixConnection(self._folder, seconds)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            data = answer.read()
        except PermissionError as error:
            raise Refused(f"{self._folder}: the control socket belongs to another user; run this as the router's user") from error
        except TimeoutError as error:
            raise Unanswered(f"the router that runs on {self._folder} does not answer") from error
        except BlockingIOError as error:
            raise Refused(f"the router that runs on {self._folder} takes no connection now ({error.strerror})") from error
        except OSError as error:
            raise NoRouter(f"no router runs on {self._folder} ({error.strerror or error})") from error
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() in ("application/json", "application/problem+json")
        said = json.loads(data) if is_json else {"detail": data.decode(errors="replace")}
        if answer.status >= 400 and path not in ("/readyz", "/flowz"):
            raise Refused(said.get("detail", f"HTTP {answer.status}") if isinstance(said, dict) else f"HTTP {answer.status}")
        return said
