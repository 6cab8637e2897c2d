"""Installs peers from PyPI and npm into a folder that is not part of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import which

from benchmarks.peers.peer import Missing

PATIENCE = 300.0
"""Longest time of an installation, in seconds."""


def npm(tools: Path, package: str, version: str) -> Path:
    """Install a package of npm unless it is there; return its folder.

    Raises:
        Missing: no Node.js, or the installation failed.
    """
    prefix = tools / package
    folder = prefix / "node_modules" / package
    if not _is(folder, version):
        prefix.mkdir(parents=True, exist_ok=True)
        options = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--loglevel=error")
        _run("Node.js and npm are", program("npm"), "install", "--prefix", str(prefix), f"{package}@{version}", *options)
    return folder


def _is(folder: Path, version: str) -> bool:
    description = folder / "package.json"
    return description.exists() and json.loads(description.read_text())["version"] == version


def pypi(tools: Path, package: str, version: str) -> Path:
    """Install a package of PyPI into a separate environment unless it is there; return the environment's folder of programs.

    Raises:
        Missing: the installation failed.
    """
    environment = tools / f"{package}-{version}"
    done = environment / "installed"
    if not done.exists():
        _run("the venv module is", sys.executable, "-m", "venv", "--without-pip", str(environment))
        _run("pip is", *_pip(), "--quiet", "--python", str(environment / "bin/python"), "install", f"{package}=={version}")
        done.touch()
    return environment / "bin"


def _pip() -> tuple[str, ...]:
    return (sys.executable, "-m", "pip", "--disable-pip-version-check")


def program(name: str) -> str:
    """Return the path of a program.

    Raises:
        Missing: it is not installed.
    """
    path = which(name, path=None) or which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def _run(needed: str, *command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{needed} needed: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Missing(f"{command[0]} failed: {' '.join(last)}")
