"""Debian 12 and Raspberry Pi OS 12 ship Python 3.11.2, which the newest gcloud-aio packages refuse.

Covers: plugins/edgerouter-gcp/pyproject.toml.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def test_versions_that_python_3_11_2_takes_are_in_range(tmp_path: Path) -> None:
    wanted = [name for name in PROJECT["dependencies"] if name.startswith("gcloud")]
    options = ["--dry-run", "--ignore-installed", "--no-input", "--retries=0", "--python-version=3.11.2", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options, f"--target={tmp_path}", *wanted]
    resolved = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "Could not find a version" in resolved.stderr and "from versions: none" in resolved.stderr:
        pytest.skip("no package index here")
    assert resolved.returncode == 0, resolved.stderr
    installed = resolved.stdout.rpartition("Would install ")[2]
    assert "gcloud-aio-auth-5.5." in installed
    assert "gcloud-aio-pubsub-7." in installed
    assert "gcloud-aio-storage-9." in installed
