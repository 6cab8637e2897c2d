"""Facts about the machine, the process and the installed packages."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from edgerouter import __version__
from edgerouter.doctor.machine.process import Measured

_MOST_BYTES: Final = 64 * 1024
_PREFIXES: Final = ("EDGEROUTER", "AWS_", "AZURE_", "GOOGLE_", "GCP_", "MQTT", "RELAY_", "PLUGINS_")


def machine(process: Measured) -> dict[str, Any]:
    """Return facts about the machine and the process; of environment variables the names only."""
    return {
        "edgerouter": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "processors": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "operating_system": _read("/etc/os-release").splitlines(),
        "uptime": _read("/proc/uptime").strip(),
        "load": _read("/proc/loadavg").strip(),
        "memory": _read("/proc/meminfo").splitlines()[:5],
        "pressure": {name: _read(f"/proc/pressure/{name}").splitlines() for name in ("cpu", "io", "memory")},
        "process": process.name,
        "process_status": process.read("status").splitlines(),
        "process_limits": process.read("limits").splitlines(),
        "control_group": process.read("cgroup").splitlines(),
        "variables_set": sorted(name for name in os.environ if name.startswith(_PREFIXES)),
    }


def packages() -> str:
    """Return each installed distribution with its version, one a line."""
    lines = {f"{found.name}=={found.version}" for found in metadata.distributions()}
    return "\n".join(sorted(lines, key=str.lower)) + "\n"


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
