"""A router exports the spans of its writes and its metrics to a collector; without one it imports nothing of OpenTelemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import aiohttp

from support.mosquitto import free_port
from support.otlp import collector
from support.router import router


async def test_a_router_exports_the_spans_of_its_writes_and_its_metrics(tmp_path: Path) -> None:
    port = free_port()
    async with collector("a-key-of-the-test") as found:
        otel = {"endpoint": found.url, "headers": {"api-key": "${env:OTEL_KEY}"}, "sample_ratio": 1, "metrics_interval": "1s"}
        config = {
            "sources": {"in": {"type": "http", "listen": f"127.0.0.1:{port}", "user_properties": ["traceparent"]}},
            "sinks": {"out": {"type": "file", "path": str(tmp_path / "out.jsonl")}},
            "telemetry": {"otel": otel},
        }
        async with router(tmp_path, config, {"OTEL_KEY": "a-key-of-the-test"}) as process:
            await process.start()
            context = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            url = f"http://127.0.0.1:{port}/topics/plant/temp"
            async with aiohttp.request("POST", url, data="1", headers=context) as response:
                assert response.status == 202
            await found.until(lambda: found.spans and "edgerouter_sink_delivered" in found.metrics)
            status = await process.status()
            await process.stop()
        assert "a-key-of-the-test" not in process.tail() + json.dumps(status)
    (span,) = found.spans
    assert [link.trace_id.hex() for link in span.links] == ["a" * 32]
    assert status["export"]["lost_spans"] == 0
    assert found.resource["service.name"] == "edgerouter"
    assert found.metrics["edgerouter_ready"].gauge.data_points[0].as_double == 1.0


def test_a_configuration_without_a_collector_imports_nothing_of_opentelemetry(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("sources: {in: {type: http, listen: '127.0.0.1:0'}}\nsinks: {out: {type: stdout}}\n")
    program = (
        "import sys; from edgerouter import app, plugins; from pathlib import Path; "
        f"plugins.load(Path({str(file)!r}), {{}}); assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
