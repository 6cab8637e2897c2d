"""Check by trying that the folders of a configuration can be used."""

from __future__ import annotations

from edgerouter.config.model import RouterConfig, SpoolSection
from edgerouter.folder import folder_fault, folders_of


def spool_fault(spool: SpoolSection) -> list[str]:
    """Return why the spool's folder cannot be made or written, if so."""
    if spool.type == "memory":
        return []
    fault = folder_fault(spool.path)
    return [] if fault is None else [f"spool.path: {fault.reason}"]


def sink_folder_faults(config: RouterConfig, *, lasting_only: bool = False) -> list[str]:
    """Return why folders of sinks cannot be made or written.

    Args:
        config: a valid configuration.
        lasting_only: leave out what may pass by itself: a disk that is full, read-only or not there yet.
    """
    tried = [
        (f"sinks.{sink.name}.{field}", folder_fault(folder))
        for sink in config.sinks
        for field, folder in folders_of(sink.config).items()
    ]
    return [f"{path}: {fault.reason}" for path, fault in tried if fault is not None and (fault.lasting or not lasting_only)]
