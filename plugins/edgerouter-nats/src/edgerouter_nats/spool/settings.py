"""Settings that the engine of the spool reads."""

from __future__ import annotations

from typing import Literal, Protocol

from edgerouter.config.model import RetainPolicy


class Settings(Protocol):
    """The fields of the configuration that matter here."""

    @property
    def stream(self) -> str: ...
    @property
    def replicas(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def on_full(self) -> Literal["block", "drop_oldest", "drop_newest"]: ...
    @property
    def retain(self) -> RetainPolicy: ...
    @property
    def commit_interval(self) -> float: ...
    @property
    def cache_bytes(self) -> int: ...
