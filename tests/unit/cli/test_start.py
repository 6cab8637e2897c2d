"""The program can be stopped from its first moment."""

from __future__ import annotations

import subprocess
import sys

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
