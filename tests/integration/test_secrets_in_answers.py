"""A secret in a service's answer, in whatever form, reaches neither log, status, metrics nor dead letters."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.command import edgerouter
from support.encodings import encodings
from support.http_service import http_service
from support.load import Plan, load
from support.mosquitto import running
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
SECRET = 'p@ss-w0rd&/<"x">Geheim+42%41;'
PARTS = ("w0rd", "Geheim", *(base64.b64encode(b"." * pad + b"Geheim").decode()[pad + 1 : 8] for pad in range(3)), b"Geheim".hex())


@pytest.mark.parametrize("status", [401, 422, 503])
async def test_an_answer_that_holds_a_secret_in_any_form_shows_it_nowhere(tmp_path: Path, status: int) -> None:
    """Dead letters (422), the status and the log (401, 503) contain the answer without the secret."""
    forms = dict(encodings(SECRET)) | {
        "beginning": SECRET[:14],
        "end": SECRET[-14:],
        "basic": base64.b64encode(f"u:{SECRET}".encode()).decode(),
    }
    answers = iter([*forms.values(), *([""] * 1000)])
    seen = []

    async def refuse(request: web.Request) -> web.Response:
        text = next(answers)
        if not text:
            return web.Response()
        seen.append(text)
        return web.Response(status=status, text=f"bad token [{text}]")

    sink = {"type": "http", "framing": "payload", "secret_headers": {"X-Plant": "${env:PLANT_KEY}"}, "username": "u"}
    sink |= {"password": "${env:PLANT_KEY}", "retry": {"first_delay": "1ms", "max_delay": "2ms"}}
    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(refuse) as url:
            config = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"]}},
                "sinks": {"echo": sink | {"url": url}},
                "log": {"level": "debug"},
            }
            statuses = []
            async with router(tmp_path, config, {"PLANT_KEY": SECRET}) as process:
                await process.start()
                async with load(Plan(broker.port, messages=len(forms) + 5, topics=("sensors/a",))) as publisher:
                    await publisher.finish()

                def delivered(status: dict[str, Any]) -> bool:
                    statuses.append(json.dumps(status))
                    return bool(status["sinks"]["echo"]["delivered"]) and not status["sinks"]["echo"]["pending"]

                await process.until(delivered)
                assert len(seen) == len(forms)
                shown = "\n".join([*statuses, (await process.get("/metrics")).decode(), process.log.read_text()])
                shown += await edgerouter("dead-letters", "export", "--spool", process.spool)
                shown += await edgerouter("status", "--spool", process.spool)
    assert "bad token" in shown
    assert "***" in shown
    found = [part for part in PARTS if part.lower() in shown.lower()]
    assert found == []
