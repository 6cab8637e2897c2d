"""The program can be stopped from its first moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FOR_OTHERS = {
    "cryptography",
    "dotenv",
    "jsonschema_rs",
    "opentelemetry",
    "prometheus_client",
    "psutil",
    "pydantic_settings",
    "rich",
}
"""Packages that other configurations and commands need."""
_CTRL_C_DURING_THE_IMPORTS = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background

class Meanwhile:
    def find_spec(self, name, path=None, target=None):
        if name == "edgerouter.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Meanwhile())
sys.argv = ["edgerouter", "--version"]
from edgerouter.cli.start import main
main()
"""

_CTRL_C_AFTERWARDS = """
import signal, sys
from edgerouter.cli.start import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background
sys.argv = ["edgerouter", "--version"]
try:
    main()
except SystemExit:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_during_the_imports_ends_without_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CTRL_C_DURING_THE_IMPORTS], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_after_the_imports_ctrl_c_is_what_python_makes_of_it() -> None:
    ended = subprocess.run([sys.executable, "-c", _CTRL_C_AFTERWARDS], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.splitlines()[-1] == "True", ended


def test_a_router_imports_nothing_that_only_other_configurations_need(tmp_path: Path) -> None:
    """With a file, the source mqtt and the sinks file and mqtt; the interpreter itself reports what is imported."""
    file = tmp_path / "edgerouter.yaml"
    file.write_text(
        "sources: {local: {type: mqtt, url: 'mqtt://127.0.0.1:1', topics: ['plant/#']}}\n"
        f"sinks: {{out: {{type: file, path: {tmp_path}/out}}, up: {{type: mqtt, url: 'mqtt://127.0.0.1:2'}}}}\n"
        f"spool: {{path: {tmp_path}/spool}}\n"
    )
    command = [sys.executable, "-X", "importtime", "-m", "edgerouter.cli.start", "run", "-c", str(file)]
    imported: set[str] = set()
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as router:
        assert router.stderr is not None
        for line in router.stderr:
            if line.startswith("import time:"):
                package, _, module = line.rpartition("|")[2].strip().partition(".")
                if module:  # the name of a package alone may be an attempt that was refused
                    imported.add(package)
                continue
            said.append(line)
            if "edgerouter runs" in line:
                router.terminate()
    assert router.returncode == 0, said
    assert {"aiohttp", "aiomqtt", "edgerouter", "pydantic"} <= imported
    assert imported & _FOR_OTHERS == set()
