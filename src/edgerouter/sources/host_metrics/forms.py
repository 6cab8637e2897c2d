"""Forms of the message: edgerouter's, and that of Synpse's example application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from edgerouter.sources.host_metrics.sample import Sample


def as_edgerouter(sample: Sample) -> bytes:
    """Return the sample as JSON, with its own names."""
    return msgspec.json.encode(sample)


def as_synpse(sample: Sample) -> bytes:
    """Return the form of Synpse's metrics bridge: names with their values, and a time in seconds.

    `deviceId`, `agent_cpu_guest_percentage` and `agent_cpu_count` are filled, which the original left empty.
    """
    metrics: dict[str, float] = {}
    if (memory := sample.memory) is not None:
        metrics |= {
            "agent_mem_total": float(memory.total_bytes),
            "agent_mem_used": float(memory.used_bytes),
            "agent_mem_cached": float(memory.cached_bytes),
            "agent_mem_free": float(memory.free_bytes),
        }
    if (cpu := sample.cpu) is not None:
        metrics |= {
            f"agent_cpu_{name}_percentage": getattr(cpu, f"{name}_percent")
            for name in ("user", "nice", "system", "idle", "iowait", "irq", "steal", "guest")
        }
        metrics["agent_cpu_count"] = float(cpu.count)
    content: dict[str, Any] = {
        "id": "",
        "timestamp": int(datetime.fromisoformat(sample.time).timestamp()),
        "projectId": "",
        "deviceId": sample.host,
        "metrics": metrics,
        "labels": None,
    }
    return msgspec.json.encode(content)


FORMS = {"edgerouter": as_edgerouter, "synpse": as_synpse}
