"""The program can be stopped from its first moment, and answers alike however much of it is imported.

Covers also: edgerouter.cli.loading, edgerouter.cli.reporting.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "arguments",
    ["", "-c /nowhere.yaml", "--config /nowhere.yaml", "--config=/nowhere.yaml", "-c", "-c  x", "--help", "-c a b", "-c -c"],
)
def test_run_answers_alike_with_the_parser_of_options_and_without_it(arguments: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("EDGEROUTER")}

    def answer(module: str) -> tuple[int, str, str]:
        code = f"import sys; sys.argv[0] = 'edgerouter'; from edgerouter.cli.{module} import main; main()"
        words = ["run", *arguments.split(" ")] if arguments else ["run"]
        command = [sys.executable, "-c", code, *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env=environment)
        return ended.returncode, ended.stdout, ended.stderr

    assert answer("start") == answer("main")
