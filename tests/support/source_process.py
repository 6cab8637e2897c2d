"""An MQTT source in a separate process, to measure the cost of hostile messages: memory, and pauses of the event loop.

`python -m support.source_process CONFIG` receives messages until one with the topic `end` arrives, acknowledges them, and prints
its measurements as the last line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from edgerouter import SourceContext
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.source import MqttSource
from support.process_meter import usage


async def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Receive messages until the last one."""
    dropped: Counter[str] = Counter()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            # the thread's CPU time: other load on the machine does not count as a pause
            before = time.thread_time()
            await asyncio.sleep(0.005)
            longest = max(longest, time.thread_time() - before)

    def drop(topic: str, messages: int, reason: str) -> None:
        dropped[reason] += messages

    context = SourceContext("s", "host", "0123456789abcdef", lambda: None, drop, lambda *_: None)
    seen: list[tuple[str, int]] = []
    async with MqttSource.open(MqttSourceConfig(**config), context) as source:
        Path("/proc/self/clear_refs").write_text("5")
        base = usage(os.getpid()).rss_bytes
        watching = asyncio.create_task(watch())
        async for delivery in source.deliveries():
            seen += [(message.topic[:100], len(message.payload)) for message in delivery.messages]
            delivery.acknowledge()
            if seen and seen[-1][0] == "end":
                break
        source.in_flight.drops.report()
        watching.cancel()
    grown = usage(os.getpid()).peak_rss_bytes - base
    return {"seen": seen[-10:], "dropped": dropped, "longest_pause": longest, "grown": grown}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.loads(sys.argv[1])))))
