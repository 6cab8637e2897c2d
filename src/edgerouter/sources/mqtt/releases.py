"""Detects how a broker releases messages of QoS 2: many in a row, or each once the one before is completed."""

from __future__ import annotations

from collections.abc import Callable


class ReleaseRhythm:
    """Decides how long reading may wait where PUBRELs come.

    Most brokers release each message of a batch with a packet that is written alone. Reading each one costs a turn of the event
    loop, so reading waits for a moment for more of them. A broker that waits for the PUBCOMP before its next PUBREL sends nothing
    in that moment: one that brings only one PUBREL is the last, until several come together.

    A PUBREL is answered without a commit, so a broker that may be waiting for that answer does not wait for the router's next
    delivery: its whole window would take one commit for each message.

    Args:
        awaited: returns True while the broker has not released every message of QoS 2 that was answered.
    """

    def __init__(self, awaited: Callable[[], bool]) -> None:
        self._awaited = awaited
        self._one_by_one = False
        self._waited = False
        self._read = 0

    def released(self, number: int) -> None:
        """Record PUBRELs found in the present read, and answered."""
        self._read += number

    def end_read(self) -> tuple[bool, bool]:
        """End a read. Return True if the broker may wait for an answer of ours, and True if reading may wait for a moment."""
        read, self._read = self._read, 0
        awaited = self._awaited()
        if read > 1:
            self._one_by_one = False
        elif read and self._waited and awaited:
            self._one_by_one = True
        if read:
            self._waited = awaited and not self._one_by_one
        return awaited or read > 0, self._waited and read > 0

    @property
    def awaited(self) -> bool:
        """True if more messages are to be released, so that reading must not wait for the router."""
        return self._awaited()

    @property
    def come_one_by_one(self) -> bool:
        """True if the broker sends its next PUBREL once the one before is answered, and is to send some."""
        return self._one_by_one and self._awaited()
