"""Version of MQTT to speak: as configured, or, with `protocol: auto`, the newest that the broker is known to answer to."""

from __future__ import annotations

from typing import Final, Literal

from edgerouter.mqtt.calls import ConnectFailed

Version = Literal["5", "3.1.1"]

_UNANSWERED: Final = 2
"""Connects with MQTT 5 that a broker closes without an answer, after which 3.1.1 is tried."""


class VersionChoice:
    """Follows what a broker answers to.

    A broker that was seen to answer to one version is one of that version: it is not asked again with each connection, and not
    after a restart either. Only a clear word, or its silence to 3.1.1, changes that.

    Args:
        configured: the user's choice.
        known: version that the broker answered to in an earlier run; empty when none is known.
        patient: try MQTT 5 twice, because a broker that is starting disconnects every client.
    """

    def __init__(self, configured: Literal["auto", "5", "3.1.1"], known: str, *, patient: bool) -> None:
        self._auto = configured == "auto"
        self._unanswered = 0
        self._most = _UNANSWERED if patient else 1
        self.known = known if self._auto and known in ("5", "3.1.1") else ""
        """Version that the broker has answered to; to be kept over restarts."""
        self.version: Version = "3.1.1" if "3.1.1" in (configured, self.known) else "5"

    def connected(self) -> None:
        """Note that the broker has let us in."""
        self._unanswered = 0
        if self._auto:
            self.known = self.version

    def failed(self, error: ConnectFailed) -> bool:
        """Note a connect that failed; returns whether to try the other version at once."""
        if not self._auto:
            return False
        if self.version == "3.1.1":
            if error.code is not None:
                # a wrong password, for example: it speaks this version
                self.known = "3.1.1"
            if error.version_refused or (error.code is None and not self.known):
                self.version = "5"
                self.known = ""
                self._unanswered = 0
            return False
        if error.version_refused:
            self.version = "3.1.1"
            return True
        if error.code is not None:
            self.known = "5"
        elif error.unanswered and self.known != "5":
            self._unanswered += 1
            if self._unanswered >= self._most:
                self.version = "3.1.1"
                return True
        return False
