"""Sinks and sources of Google Cloud start without what only others need.

Covers: plugins/edgerouter-gcp/src/edgerouter_gcp/pubsub/sink.py, plugins/edgerouter-gcp/src/edgerouter_gcp/pubsub/source.py.
"""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import edgerouter_gcp.pubsub.sink, edgerouter_gcp.pubsub.source, edgerouter_gcp.storage.sink
print(*{"http.server", "prometheus_client"} & sys.modules.keys())
"""


def test_pubsub_imports_no_web_server_and_no_prometheus_client() -> None:
    imported = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True).stdout
    assert imported.split() == []
